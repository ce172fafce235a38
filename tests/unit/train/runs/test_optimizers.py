"""Optimizers, averages and mixtures under a resume: the end is the same to the bit, whatever is in the state."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.runs.runs import run, weights

RECIPES: dict[str, dict[str, Any]] = {
    "adafactor": {"optimizer": {"name": "adafactor", "learningRate": 0.02, "weightDecay": 0.01}},
    "muon": {
        "optimizer": {"name": "muon", "learningRate": 0.01, "epsilon": 1e-7, "noDecay": ["4.weight"]},
        "model": {"name": "custom", "callable": "tests.unit.train.runs.mlp:mlp"},
    },
    "nesterov, average, mixup and cutmix": {
        "optimizer": {"name": "sgd", "learningRate": 0.05, "nesterov": True},
        "schedule": {"name": "one-cycle"},
        "ema": {"decay": 0.9},
        "augmentation": {"mixup": 0.2, "cutmix": 1.0},
        "balanceClasses": True,
        "labelSmoothing": 0.1,
    },
    "amsgrad": {"optimizer": {"name": "adamw", "amsgrad": True, "beta2": 0.99}, "schedule": {"name": "wsd"}},
}


def killed_at_its_end(folder: Path) -> None:
    """What a kill -9 in the last steps leaves: the checkpoint before the last, and no artifact."""
    whole = sorted((folder / "checkpoints").glob("*/step-*"))
    assert len(whole) == 2
    shutil.rmtree(whole[-1])
    shutil.rmtree(folder / "model")


@pytest.mark.parametrize("name", RECIPES)
def test_a_resume_ends_with_the_same_bits(tmp_path: Path, name: str) -> None:
    """An average, or its number of steps, that is not saved begins anew (lightly-train 892); evaluated, it is saved in
    place of the weights (schnetpack 785).
    """
    recipe = {"evaluateEverySteps": 4, "rehearsal": False, **RECIPES[name]}
    run(tmp_path, "single", 1, every=7, **recipe)
    before = weights(tmp_path)
    metrics = (tmp_path / "model/metrics.jsonl").read_text().splitlines()
    killed_at_its_end(tmp_path)
    said = run(tmp_path, "single", 1, every=7, **recipe)
    assert "resumed from step 14" in said
    after = weights(tmp_path)
    assert all(torch.equal(tensor, after[one]) for one, tensor in before.items())
    again = (tmp_path / "model/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["accuracy"] for row in again] == [json.loads(row)["accuracy"] for row in metrics]


def test_patience_ends_a_run_and_survives_a_restart(tmp_path: Path) -> None:
    """Early stopping that counts anew after a restart never ends (Lightning 1463)."""
    recipe = {
        "epochs": 50,
        "optimizer": {"name": "sgd", "learningRate": 1e-9},
        "schedule": {"name": "constant"},
        "earlyStopping": {"patience": 3, "minDelta": 0.05},
        "rehearsal": False,
    }
    said = run(tmp_path, "single", 1, every=10, **recipe)
    assert "no better for 3 evaluations: the run ends at step 40" in said
    about = json.loads((tmp_path / "model/artifact.json").read_text())
    assert about["lineage"]["publishedStep"] == 10
    killed_at_its_end(tmp_path)
    said = run(tmp_path, "single", 1, every=10, **recipe)
    assert "resumed from step 30" in said
    assert "the run ends at step 40" in said


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp2", marks=pytest.mark.slow)])
def test_an_average_is_what_is_evaluated_and_published(tmp_path: Path, strategy: str) -> None:
    from slipway.api.common.sources import DatasetChoice
    from workloads import data
    from workloads.data.normalisation import Normalise
    from workloads.models.from_artifact import load_model

    run(tmp_path, strategy, 2, ema={"decay": 0.9}, dataset={"name": "digits", "limit": 640})
    about = json.loads((tmp_path / "model/artifact.json").read_text())
    found = data.load(DatasetChoice(name="digits", limit=640))  # type: ignore[arg-type]
    pixels, labels = found.held_out.batch(range(len(found.held_out)))
    inputs = Normalise(found.preprocessing, torch.device("cpu"))(torch.from_numpy(pixels))
    with torch.no_grad():
        right = (load_model(tmp_path / "model")[0](inputs).argmax(1) == torch.from_numpy(labels)).float().mean()
    assert float(right) == pytest.approx(about["metrics"]["accuracy"], abs=1e-6)


def test_parts_of_an_average_are_those_of_the_whole(tmp_path: Path) -> None:
    """FSDP2 keeps what an evaluation has gathered: the average would have been trained on, or not been looked at."""
    recipe = {"ema": {"decay": 0.9}, "evaluateEverySteps": 3, "rehearsal": False}
    run(tmp_path / "one", "single", 1, every=7, **recipe)
    run(tmp_path / "two", "fsdp2", 2, every=7, **recipe)
    expected, found = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(tensor, found[name], atol=2e-3) for name, tensor in expected.items())
    killed_at_its_end(tmp_path / "two")
    assert "resumed from step 14" in run(tmp_path / "two", "fsdp2", 2, every=7, **recipe)
    after = weights(tmp_path / "two")
    assert all(torch.equal(tensor, after[name]) for name, tensor in found.items())
