"""kill -9 in the middle of the command quantize, again and again: the end is that of an undisturbed run.

A real process dies whenever its work folder has changed for the n-th time, n drawn from a seed; the last one is left
alone. Models, statistics, figures and the ranking must be the same to the last byte.
"""

import hashlib
import random
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.unit.quantize import jobs
from tests.unit.train import processes
from workloads import storage

# 2-bit weights need the worst layers in float: every stage but training takes part.
NARROW = {
    **jobs.NARROW,
    "calibration": {**jobs.DIGITS, "samples": 600, "batchSize": 2},
}
KILLS = 2


def started(document: Path) -> AbstractContextManager[processes.Running]:
    return processes.command(["quantize", "--config", str(document)], document.parent / "logs")


def changes(folder: Path, running: processes.Running, wanted: int) -> int:
    """Watch the work folder until so many changes of files were seen, or the process has ended. Returns how many."""
    seen: dict[Path, int] = {}
    count = 0
    while running.process.exitcode is None and count < wanted:
        for path in folder.rglob("*"):
            try:
                changed = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # renamed between the two calls
            count += seen.get(path) != changed
            seen[path] = changed
        time.sleep(0.003)  # the process that is watched needs the core
    return count


def killed_once(document: Path, folder: Path, after: int) -> str:
    """What a process said that was killed after so many changes; it may have been faster than the signal."""
    with started(document) as running:
        changes(folder, running, after)
        running.process.kill()
        running.wait()
        return running.output


def finished(document: Path) -> str:
    with started(document) as running:
        code = running.wait()
    assert code == 0, running.output + running.errors
    return running.output


def results(job: jobs.Job) -> dict[str, str]:
    """Digests of all that must not depend on when the process died; times do."""
    folder = jobs.work_of(job).folder
    names = ["calibration/*.npz", "candidates/*.json", "sensitivity/*.jsonl", "rungs/*.json", "answers/*.npz", "*.onnx"]
    files = [path for name in names for path in sorted(folder.glob(name))]
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {**found, "published": storage.sha256_of(storage.fetch(job.spec.output.uri) / "model.onnx")}


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """What an undisturbed process leaves, and how often its work folder changes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    document = jobs.document(folder, digits, **NARROW)
    job = jobs.job(folder, digits, **NARROW)
    with started(document) as running:
        count = changes(jobs.work_of(job).folder, running, 1 << 30)
        assert running.wait() == 0, running.errors
    left = results(job)
    assert len(left) > 20
    return left, count


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(digits: Path, tmp_path: Path, undisturbed: tuple[dict[str, str], int], seed: int) -> None:
    expected, count = undisturbed
    document, job = jobs.document(tmp_path, digits, **NARROW), jobs.job(tmp_path, digits, **NARROW)
    folder, numbers = jobs.work_of(job).folder, random.Random(seed)
    for _ in range(KILLS):
        killed_once(document, folder, len(list(folder.rglob("*"))) + numbers.randrange(1, max(2, count // KILLS)))
    finished(document)
    assert results(job) == expected


def test_killed_while_calibrating(digits: Path, tmp_path: Path, undisturbed: tuple[dict[str, str], int]) -> None:
    """Statistics that were kept are gone on with; whatever the last process had seen since then is seen again."""
    document, job = jobs.document(tmp_path, digits, **NARROW), jobs.job(tmp_path, digits, **NARROW)
    folder = jobs.work_of(job).folder
    with started(document) as running:
        while running.process.exitcode is None and not (folder / "calibration" / "0-of-1.npz").exists():
            time.sleep(0.001)
        running.process.kill()
        running.wait()
    assert not (folder / "calibration" / "0-of-1.json").exists()
    assert "calibration goes on after" in finished(document)
    assert results(job) == undisturbed[0]
