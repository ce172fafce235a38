"""What is next follows from the records alone: after a pass nothing more is tried, after a failure the next rung."""

from pathlib import Path
from typing import Any

import pytest

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.status import Candidate, Stage
from tests.unit.quantize import jobs
from workloads.quantize.ladder.candidates import candidate_in
from workloads.quantize.ladder.order import next_rung, next_stage
from workloads.quantize.workdir import Work

LADDER = ["static-per-tensor", "static-per-channel", "mixed-precision", "dynamic", "qat"]


def spec(folder: Path, **fields: Any) -> Any:
    return jobs.job(folder, folder / "model", ladder=LADDER, **fields).spec


def judged(work: Work, rung: str, *passed: bool) -> None:
    """A rung that was climbed, with candidates that passed or did not."""
    names = [f"{rung}-{number}" for number in range(len(passed))]
    for name, passes in zip(names, passed, strict=True):
        work.write(f"candidates/{name}", {"candidate": Candidate(name=name, rung=rung, passed=passes).wire()})
    work.write(f"rungs/{rung}", {"candidates": names, "skipped": "" if names else "it does not fit"})


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Calibrated and ready for the ladder."""
    made = Work(tmp_path / "work")
    for name in ("source", "candidates/float", "calibration/0-of-1"):
        made.write(name, {})
    return made


def test_the_first_pass_ends_the_climb(tmp_path: Path, work: Work) -> None:
    wanted = spec(tmp_path)
    assert next_rung(wanted, work) is Rung.STATIC_PER_TENSOR
    judged(work, "static-per-tensor", False, False)
    assert (next_rung(wanted, work), next_stage(wanted, work)) == (Rung.STATIC_PER_CHANNEL, Stage.QUANTIZE)
    judged(work, "static-per-channel", False, True, False)
    assert next_rung(wanted, work) is None
    assert next_stage(wanted, work) is Stage.BENCHMARK


def test_a_rung_that_does_not_fit_is_no_pass_and_stages_come_when_their_rung_does(tmp_path: Path, work: Work) -> None:
    wanted = spec(tmp_path)
    for rung in ("static-per-tensor", "static-per-channel"):
        judged(work, rung, False)
    assert next_stage(wanted, work) is Stage.SENSITIVITY
    work.write("sensitivity/0-of-1", {})
    assert next_stage(wanted, work) is Stage.QUANTIZE
    judged(work, "mixed-precision", False, False)
    judged(work, "dynamic")
    assert (next_rung(wanted, work), next_stage(wanted, work)) == (Rung.QAT, Stage.QAT)
    judged(work, "qat", False)
    assert next_rung(wanted, work) is None
    assert next_stage(wanted, work) is Stage.BENCHMARK
    work.write("benchmark", {})
    assert next_stage(wanted, work) is Stage.PUBLISH
    work.write("published", {})
    assert next_stage(wanted, work) is None


def test_compression_comes_before_all_of_it(tmp_path: Path, work: Work) -> None:
    wanted = spec(tmp_path, compression=[{"method": "two-four"}])
    assert next_stage(wanted, work) is Stage.COMPRESS
    work.write("compressed", {})
    assert next_stage(wanted, work) is Stage.QUANTIZE


def test_cheap_rungs_compete_and_expensive_ones_wait(tmp_path: Path, work: Work) -> None:
    wanted = spec(tmp_path, optimizeFor="size")
    climbed = []
    for passes in (True, False, False):
        rung = next_rung(wanted, work)
        assert rung is not None
        judged(work, rung, passes)
        climbed.append(rung)
    assert climbed == [Rung.STATIC_PER_TENSOR, Rung.STATIC_PER_CHANNEL, Rung.DYNAMIC]
    assert next_stage(wanted, work) is Stage.BENCHMARK


def test_what_gains_nothing_is_no_pass(tmp_path: Path, work: Work) -> None:
    wanted = spec(tmp_path, optimizeFor="latency")
    for rung in ("static-per-tensor", "static-per-channel", "dynamic"):
        judged(work, rung, rung == "dynamic")
    work.write("latency/dynamic-0", {"speedup": 0.8, "noGain": "no gain: 1.02 times smaller"})
    assert next_rung(wanted, work) is Rung.MIXED_PRECISION
    found = candidate_in(work, "dynamic-0")
    assert (found.passed, found.speedup) == (False, 0.8)
    assert found.message.endswith("no gain: 1.02 times smaller")
