"""kill -9 of the stage compress as a real process, at each of its moments: the end is that of an undisturbed run.

The process keeps the state of its training after every step, so that it can be killed in the middle of one too. The
short version, in which Python only thinks that it dies, is in test_compress.py.
"""

import contextlib
import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import environment
from workloads.quantize.run import run_stage

STEPS: dict[str, Any] = {
    "compression": [{"method": "channels", "ratio": 0.25}, {"method": "two-four"}],
    "calibration": {"dataset": {"name": "digits", "limit": 640}, "samples": 60},
    "ladder": ["dynamic"],
    "optimizeFor": "size",  # two runs need not agree on what is faster
    "gates": {"accuracy": {"maxDrop": 0.1, "dropType": "absolute"}},
    "qat": {"epochs": 2, "learningRate": 0.002},
}
FIRST, SECOND = "compressed-1-channels", "compressed-2-two-four"
RUN = """
import sys
from workloads.quantize.fine_tuning import loop
from workloads.quantize.command import main
loop.SAVE_EVERY = 0.0
sys.exit(main(sys.argv[1:]))
"""


def there(name: str) -> Callable[[Path], bool]:
    return lambda folder: (folder / name).exists()


def in_training(name: str) -> Callable[[Path], bool]:
    """Its state has been replaced a few times."""
    seen: set[int] = set()

    def look(folder: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):  # before its first step
            seen.add((folder / f"compress/{name}.safetensors").stat().st_mtime_ns)
        return len(seen) > 5

    return look


# In the order in which they come: one process after the other is killed.
MOMENTS = {
    "judged untrained": lambda: there(f"compress/{FIRST}.json"),
    "in training": lambda: in_training(FIRST),
    "trained": lambda: there(f"compress/{FIRST}/artifact.json"),
    "exported": lambda: there(f"candidates/{FIRST}.onnx"),
    "judged": lambda: there(f"candidates/{FIRST}.json"),
    "in the second training": lambda: in_training(SECOND),
    "the second trained": lambda: there(f"compress/{SECOND}/artifact.json"),
    "prepared for the ladder": lambda: there("smaller.onnx"),
}
ALL = list(MOMENTS)
pytestmark = pytest.mark.slow


def prepared(folder: Path, digits: Path) -> jobs.Job:
    job = jobs.job(folder, digits, **STEPS)
    for stage in (Stage.EXPORT, Stage.BASELINE):
        run_stage(job, jobs.quiet(), stage, 0)
    return job


def started(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-u", "-c", RUN, "--config", str(folder / "job.yaml"), "--stage", "compress"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())


def ended(folder: Path) -> None:
    with started(folder) as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said


def killed(folder: Path, work: Path, reached: Callable[[Path], bool]) -> bool:
    """Whether it was; at its last moment a process may be faster than the signal, and has ended well then."""
    with started(folder) as process:
        while process.poll() is None and not reached(work):
            pass
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
    assert process.returncode in {-signal.SIGKILL, 0}, said
    return process.returncode != 0


def results(job: jobs.Job) -> dict[str, str]:
    """Digests of all that the stage leaves."""
    folder = jobs.work_of(job).folder
    names = ["candidates/*", "answers/*", "compress/*/*", "compress/*.json", "smaller.onnx", "compressed.json"]
    files = [path for name in names for path in sorted(folder.glob(name)) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By a process like those that are killed: with other threads sums are added in another order."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = prepared(folder, digits)
    ended(folder)
    left = results(job)
    assert {f"candidates/{FIRST}.json", f"candidates/{SECOND}.onnx", "smaller.onnx"} <= set(left)
    return left


@pytest.mark.parametrize(
    "moments",
    [["in the second training"], ALL[::2], ALL[1::2]],
    ids=["once", "even", "odd"],
)
def test_killed_while_compressing(
    digits: Path, tmp_path: Path, undisturbed: dict[str, str], moments: list[str]
) -> None:
    job = prepared(tmp_path, digits)
    work = jobs.work_of(job).folder
    deaths = [killed(tmp_path, work, MOMENTS[moment]()) for moment in moments]
    assert all(deaths if moments[-1] != ALL[-1] else deaths[:-1])
    ended(tmp_path)
    left = results(job)
    # An artifact that was written again has put the one before aside, under a name of its own.
    assert {name: left.get(name) for name in undisturbed} == undisturbed
