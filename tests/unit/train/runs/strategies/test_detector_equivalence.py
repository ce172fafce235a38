"""A detector is trained by two processes as by one: neither loss nor average precision knows of them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.runs.runs import history, run, weights

BOXES: dict[str, Any] = {
    "model": {"name": "custom", "callable": "tests.unit.train.runs.boxes:detector"},
    "dataset": {"name": "shapes", "limit": 128},
    "globalBatchSize": 32,
    "epochs": 2,
    "optimizer": {"name": "adamw", "learningRate": 0.004},
}


@pytest.mark.slow
def test_two_processes_take_the_path_of_one(tmp_path: Path) -> None:
    run(tmp_path / "one", "single", 1, **BOXES)
    output = run(tmp_path / "two", "ddp", 2, **BOXES)
    assert "processes: 2 (ddp" in output
    for before, after in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert after["trainingLoss"] == pytest.approx(before["trainingLoss"], rel=2e-3)
        assert after["averagePrecision50"] == pytest.approx(before["averagePrecision50"], abs=5e-3)
        assert (after["objects"], after["samples"]) == (before["objects"], before["samples"])
    expected, found = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert torch.allclose(tensor, expected[name], atol=2e-3), name
