"""kill -9 while cheap rungs compete: candidates are those of an undisturbed run, and what was measured stays measured.

Which of them wins is decided by clocks, which never say the same twice; so the record of a candidate must not hold any,
and a record of latency that was there before a kill must be read, and not made again.
"""

import random
from pathlib import Path

import pytest

from tests.unit.quantize import jobs
from tests.unit.quantize.stages.test_kill import changes, finished, killed_once, results, started
from workloads.quantize.ladder.candidates import candidate_in

# For size, however slow int8 is on this machine: where no cheap rung gains anything, the ladder is climbed further.
CONTEST = {
    "calibration": {**jobs.DIGITS, "samples": 100, "batchSize": 4, "methods": ["min-max", "mse"]},
    "optimizeFor": "size",
}
KILLS = 2


def measured(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("latency/*.json")}


def without_published(found: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in found.items() if name != "published"}


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    folder = tmp_path_factory.mktemp("contest")
    document, job = jobs.document(folder, digits, **CONTEST), jobs.job(folder, digits, **CONTEST)
    with started(document) as running:
        count = changes(jobs.work_of(job).folder, running, 10**9)
        assert running.wait() == 0, running.errors
    return results(job), count


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_contest_that_is_killed_ends_with_the_same_candidates(
    seed: int, digits: Path, tmp_path: Path, undisturbed: tuple[dict[str, str], int]
) -> None:
    expected, count = undisturbed
    document, job = jobs.document(tmp_path, digits, **CONTEST), jobs.job(tmp_path, digits, **CONTEST)
    work, chance = jobs.work_of(job), random.Random(seed)
    for _ in range(KILLS):
        before = measured(work.folder)
        killed_once(document, work.folder, chance.randrange(count // 4, count))
        after = measured(work.folder)
        assert before.items() <= after.items()
    kept = measured(work.folder)
    finished(document)
    ended = measured(work.folder)
    assert kept.items() <= ended.items()
    assert len(ended) > 1
    found = results(job)
    common = set(without_published(found)) & set(without_published(expected))
    assert any(name.startswith("candidates/") for name in common)
    assert set(found) == set(expected)
    assert {name: found[name] for name in common} == {name: expected[name] for name in common}
    rows = [candidate_in(work, path.stem) for path in work.folder.glob("latency/*.json")]
    assert any(row.passed for row in rows)
