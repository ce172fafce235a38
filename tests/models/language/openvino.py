"""OpenVINO's form of the small trained model, an artifact with probes; written once and kept in the cache."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from tests.models.language import small

STAMP = "complete"


def folder(name: str = "small") -> Path:
    """An artifact of kind openvino-lm, not to be changed; its probes are transformers' answers."""
    import workloads.language.openvino as package

    files = sorted(Path(package.__file__).parent.glob("*.py"))
    source = b"".join(path.read_bytes() for path in (*files, Path(__file__)))
    where = small.folder(name).with_name(f"openvino-{name}-{hashlib.sha256(source).hexdigest()[:12]}")
    with where.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / STAMP).exists():
            shutil.rmtree(where, ignore_errors=True)
            _write(small.folder(name), where)
    return where / "model"


def _write(source: Path, where: Path) -> None:
    from slipway.api.common.artifact import JobReference, Lineage
    from slipway.api.common.language import ArtifactKind
    from workloads.language import artifacts, scoring, weights
    from workloads.language.openvino.writer import write_openvino
    from workloads.language.text_tokenizer import TextTokenizer

    texts = ["The Python standard library", "import os\nfor name in", "Returns the number of", "a🎉b"]
    tokenizer = TextTokenizer(source)
    prompts = [tokenizer.encode(text).ids for text in texts]
    probes = scoring.measured(weights.load(source), prompts)
    draft = artifacts.Draft(
        kind=ArtifactKind.OPENVINO_LM,
        lineage=Lineage(job=JobReference(kind="TrainingJob", name="small")),
        created="2026-01-01T00:00:00Z",
        parameters=1,
        metrics={},
    )
    where.mkdir()
    with artifacts.publishing(str(where / "model"), "tests", draft) as out:
        write_openvino(source, out)
        probes.write(out)
    (where / STAMP).touch()
