"""Every rung builds what its name says, as a job climbs them: no two candidates are the same model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.quantize import jobs
from workloads import storage
from workloads.quantize.context import Context
from workloads.quantize.ladder.candidates import details_of

LADDER = [
    "static-per-tensor",
    "static-per-channel",
    "smooth-quant",
    "bias-correction",
    "dynamic",
    "weight-only-int8",
    "weight-only-int4",
    "fp16",
]


@pytest.fixture(scope="module")
def climbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, dict[str, Any]]:
    """A job that nothing passes: it needs a hundredth of the size, and a thousand times the speed."""
    gates = {"size": {"maxRatio": 0.01}, "latency": {"minSpeedup": 1000}}
    calibration = {**jobs.DIGITS, "samples": 60, "methods": ["min-max", "moving-average"]}
    folder = tmp_path_factory.mktemp("rungs")
    job = jobs.job(folder, digits, gates=gates, calibration=calibration, ladder=LADDER, parallelism=2)
    jobs.run(job)
    report = json.loads((storage.fetch(job.spec.output.uri) / "report.json").read_text())
    return Context(job, jobs.work_of(job), jobs.quiet()), report


def test_each_is_another_model(climbed: tuple[Context, dict[str, Any]]) -> None:
    context, report = climbed
    names = [row["name"] for row in report["candidates"][1:]]
    assert {row["rung"] for row in report["candidates"][1:]} == set(LADDER)
    assert len(names) == 2 + 2 + 2 + 1 + 4
    digests = {details_of(context, name)["digest"] for name in names}
    assert len(digests) == len(names)


def test_eight_bits_answer_as_the_float_model_does(climbed: tuple[Context, dict[str, Any]]) -> None:
    for row in climbed[1]["candidates"][1:]:
        assert row["agreement"] > (0.9 if row["rung"] == "weight-only-int4" else 0.97), row["name"]


def test_both_gates_are_asked_of_every_candidate(climbed: tuple[Context, dict[str, Any]]) -> None:
    for row in climbed[1]["candidates"][1:]:
        assert row["passed"] is False
        assert "at most 0.01 asked" in row["message"], row["name"]
        assert "at least 1000 asked" in row["message"], row["name"]
        assert row["speedup"] > 0


def test_shards_share_the_samples(climbed: tuple[Context, dict[str, Any]]) -> None:
    """Each sample is seen once, by one of the two."""
    context, report = climbed
    assert report["calibration"] | {"tensors": 0, "data": ""} == {"samples": 60, "shards": 2, "tensors": 0, "data": ""}
    (image,) = (found for name, found in context.statistics.items() if name == "images")
    assert image.count == 60 * 64
