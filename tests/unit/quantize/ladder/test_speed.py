"""What a candidate's speed decides: the one place where this machine's own clock is asked, and made-up speeds."""

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.api.quantization.ladder import Goal
from slipway.api.quantization.status import Outcome
from tests.unit.quantize import jobs, speeds
from workloads.quantize.evaluation.ranking import no_gain


def test_by_the_clock_of_this_machine_what_gains_nothing_is_not_published(digits: Path, tmp_path: Path) -> None:
    """Whatever it says: the verdicts follow from the figures that it gave."""
    job = jobs.job(tmp_path, digits, ladder=["dynamic", "weight-only-int8"], optimizeFor="balanced", calibration=None)
    with speeds.of_this_machine():
        result = jobs.run(job)
    rows = {row.name: row for row in result.comparison}
    size = rows["float"].size_bytes or 0
    for name in ("dynamic", "weight-only-int8"):
        record = json.loads((jobs.work_of(job).folder / "latency" / f"{name}.json").read_text())
        assert record["speedup"] > 0
        assert record["noGain"] == no_gain((rows[name].size_bytes or 0) / size, record["speedup"], Goal.BALANCED)
        assert (rows[name].passed, rows[name].speedup) == (not record["noGain"], record["speedup"])
    passing = {name for name, row in rows.items() if row.passed and name != "float"}
    assert (result.selected in passing) if passing else (result.outcome is Outcome.KEPT_FLOAT)


@pytest.mark.parametrize(("faster", "outcome"), [(0.2, Outcome.KEPT_FLOAT), (2.0, Outcome.QUANTIZED)])
def test_what_is_more_slower_than_smaller_is_published_for_size_alone(
    digits: Path, tmp_path: Path, faster: float, outcome: Outcome
) -> None:
    fields: dict[str, Any] = {"ladder": ["dynamic"], "calibration": None}
    with speeds.fixed(faster):
        balanced = jobs.run(jobs.job(tmp_path / "balanced", digits, **fields, optimizeFor="balanced"))
        size = jobs.run(jobs.job(tmp_path / "size", digits, **fields, optimizeFor="size"))
    assert (balanced.outcome, size.outcome) == (outcome, Outcome.QUANTIZED)
    row = next(row for row in balanced.comparison if row.name == "dynamic")
    assert row.speedup == faster
    assert ("set optimizeFor: size" in row.message) == (outcome is Outcome.KEPT_FLOAT)
