"""`bench scaling`: the same job by more processes, its figures, and refusals in words."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bench.test_command import run
from workloads.bench import scaling
from workloads.errors import BadInput

JOB: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "digits"},
    "spec": {
        "numProcPerNode": 4,
        "recipe": {"model": {"name": "cnn", "width": 8}, "dataset": {"name": "digits"}, "globalBatchSize": 64},
        "checkpoint": {"uri": "pvc://claim/checkpoints"},
        "output": {"uri": "pvc://claim/model"},
    },
}


def test_efficiency_is_speed_by_processes() -> None:
    rows = [{"processes": 2, "samplesPerSecond": 100.0}, {"processes": 8, "samplesPerSecond": 300.0}]
    found = scaling.compared(rows)
    assert [(row["speedup"], row["efficiency"]) for row in found] == [(1.0, 1.0), (3.0, 0.75)]


def test_only_the_training_is_measured() -> None:
    found = scaling.prepared(JOB, 4, 30)["spec"]
    assert "checkpoint" not in found
    assert (found["recipe"]["globalBatchSize"], found["recipe"]["maxSteps"]) == (256, 30)
    assert JOB["spec"]["recipe"]["globalBatchSize"] == 64


@pytest.mark.parametrize(
    ("patch", "words"),
    [({"recipe": None}, "has no recipe"), ({"launcher": "horovodrun"}, "launcher horovodrun is not started here")],
)
def test_what_cannot_be_measured_is_refused(patch: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        scaling.prepared({**JOB, "spec": {**JOB["spec"], **patch}}, 1, 10)


@pytest.mark.parametrize("processes", ["a", "0,1", "2,1", "1,1"])
def test_wrong_counts_are_refused(tmp_path: Path, processes: str) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    assert scaling.main(["--config", str(tmp_path / "job.json"), "--processes", processes]) == 2


@pytest.mark.slow
def test_two_processes_beside_one(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    options = ["--config", str(tmp_path / "job.json"), "--steps", "44", "--output", "json"]
    done: subprocess.CompletedProcess[str] = run("scaling", *options)
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout)["rows"]
    assert one["communicationShare"] is None
    assert 0 < two["communicationShare"] <= 1
    assert 0 < two["efficiency"] < 2
