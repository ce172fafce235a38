"""What used to fail after hours fails before the first step; what is published is the best; what changed is told."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from slipway.api.training.compression import CompressionStep
from tests.unit.train.processes import train, wait_for
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads import artifact
from workloads.compress import prunable
from workloads.compress.magnitude import magnitude
from workloads.models import Images as Shape
from workloads.models import arguments_for, build
from workloads.train.run import differences

SMALL: dict[str, Any] = {"epochs": 1, "optimizer": {"learningRate": 0.01}, "gradientClipping": None}


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("stateful", "state_dict holds _extra_state, a dict, and an artifact holds tensors only"),
        ("chatty", "builds another model when it is called again"),
        ("forgetting", "AttributeError: no centre of the classes yet"),
    ],
)
def test_what_fails_at_the_end_fails_before_the_first_step(tmp_path: Path, function: str, words: str) -> None:
    said = jobs.refused(tmp_path, **SMALL, model=jobs.own(function))
    assert words in said
    assert "epoch 1/1" not in said
    assert not runs.checkpoints(tmp_path)


@pytest.mark.parametrize(
    ("strategy", "count", "optimizer"),
    [
        ("single", 1, "sgd"),
        ("fsdp2", 2, "adamw"),
        ("zero-3", 2, "adamw"),
        slow("single", 1, "adamw"),
        slow("ddp", 2, "adamw"),
        slow("zero-2", 2, "adamw"),
        slow("zero-3", 2, "sgd"),
    ],
)
def test_a_rehearsal_changes_nothing_of_the_training(tmp_path: Path, strategy: str, count: int, optimizer: str) -> None:
    """The state after the first step is saved, loaded, and gone on from; what was made to be tried is removed."""
    if not runs.installed(strategy):
        pytest.skip("its library is not installed")
    recipe = {"epochs": 1, "optimizer": {"name": optimizer, "learningRate": 0.01}}
    said = runs.run(tmp_path / "with", strategy, count, **recipe)
    looked = "samples read, a batch evaluated, artifact of 0.0 MB written and read back"
    assert f"rehearsal: 871 {looked}" in said
    assert "rehearsal: a state saved and loaded" in said
    assert "rehearsal:" not in runs.run(tmp_path / "without", strategy, count, **recipe, rehearsal=False)
    expected = runs.weights(tmp_path / "without")
    assert all(torch.equal(one, expected[name]) for name, one in runs.weights(tmp_path / "with").items())
    kept = [[path.name for path in runs.checkpoints(tmp_path / one)] for one in ("with", "without")]
    assert kept[0] == kept[1] == ["step-0000000005", "step-0000000010"]
    assert not list(Path("/tmp").glob("slipway-rehearsal-*/model"))


def test_a_state_that_cannot_be_saved_shows_after_the_first_step(tmp_path: Path) -> None:
    """It showed at the first checkpoint, and at every one after it, as a warning."""
    said = jobs.refused(tmp_path, **SMALL, model=jobs.own("unsavable"))
    assert "CannotBeSavedError: not this one" in said
    assert "epoch 1/1" not in said


@pytest.mark.parametrize(("strategy", "count"), [slow("ddp", 2), ("fsdp2", 2), slow("zero-3", 2)])
def test_the_best_weights_are_published(tmp_path: Path, strategy: str, count: int) -> None:
    """The artifact was the last epoch's, whatever it had come to."""
    if not runs.installed(strategy):
        pytest.skip("its library is not installed")
    recipe = {**SMALL, "epochs": 3, "model": jobs.own("rising", worse=20), "schedule": {"name": "constant"}}
    said = runs.run(tmp_path / "best", strategy, count, **recipe)
    rows = runs.history(tmp_path / "best")
    assert rows[-1]["accuracy"] < rows[1]["accuracy"]
    assert "published are the weights of step 20, the best" in said
    found = artifact.read(tmp_path / "best/model").description
    assert (found.lineage.published_step, found.lineage.steps) == (20, 30)
    assert found.metrics["accuracy"] == rows[1]["accuracy"]
    runs.run(tmp_path / "two", strategy, count, **{**recipe, "maxSteps": 20})
    expected = {name: one for name, one in runs.weights(tmp_path / "two").items() if name != "seen"}
    assert all(torch.equal(one, runs.weights(tmp_path / "best")[name]) for name, one in expected.items())


def test_a_run_killed_after_its_best_epoch_publishes_the_same(tmp_path: Path) -> None:
    recipe = {**SMALL, "epochs": 20, "model": jobs.own("rising", worse=20)}
    runs.run(tmp_path / "whole", "single", 1, **recipe)
    config = runs.write(tmp_path / "killed", "single", **recipe)
    with train(config, 1, tmp_path / "logs") as (one,):
        wait_for(lambda: len(runs.checkpoints(tmp_path / "killed")) >= 1 and "epoch 4/20" in one.output, "epoch 4")
        os.kill(one.process.pid, signal.SIGKILL)
        one.wait()
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == 0, one.output
        assert "resumed from step" in one.output
    expected = runs.weights(tmp_path / "whole")
    assert artifact.read(tmp_path / "killed/model").description.lineage.published_step == 20
    assert all(torch.equal(tensor, expected[name]) for name, tensor in runs.weights(tmp_path / "killed").items())


def test_the_last_weights_are_published_on_request(tmp_path: Path) -> None:
    config = runs.write(tmp_path, "single", **{**SMALL, "epochs": 3, "model": jobs.own("rising", worse=20)})
    document = json.loads(config.read_text())
    document["spec"]["output"]["publish"] = "last"
    config.write_text(json.dumps(document))
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == 0, one.output
    found = artifact.read(tmp_path / "model").description
    assert found.lineage.published_step == 30
    assert found.metrics["accuracy"] == runs.history(tmp_path)[-1]["accuracy"]
    assert not (tmp_path / "checkpoints/digits-6f1c4a52/best").exists()


def test_a_run_of_so_many_steps_evaluated_so_often(tmp_path: Path) -> None:
    recipe = {**SMALL, "epochs": 5, "maxSteps": 13, "evaluateEverySteps": 4}
    jobs.resumed_ends_as_undisturbed(tmp_path, "single", 1, **recipe)
    rows = runs.history(tmp_path)
    assert [(row["step"], row["epoch"]) for row in rows] == [(4, 1), (8, 1), (10, 1), (12, 2), (13, 2)]
    assert artifact.read(tmp_path / "model").description.lineage.steps == 13


def test_going_on_with_another_recipe_is_told_and_kept(tmp_path: Path) -> None:
    """It was silent, and the lineage told the last recipe for the whole run."""
    runs.run(tmp_path, "single", 1, epochs=1)
    said = runs.run(tmp_path, "single", 1, epochs=2, optimizer={"name": "adamw", "learningRate": 0.02})
    assert "the recipe was changed since: epochs 1 -> 2, optimizer.learningRate 0.01 -> 0.02" in said
    kept = artifact.read(tmp_path / "model").description.lineage.recipes
    assert [(one["fromStep"], one["recipe"]["optimizer"]["learningRate"]) for one in kept] == [(0, 0.01), (10, 0.02)]
    said = runs.run(tmp_path, "single", 1, epochs=2, optimizer={"name": "adamw", "learningRate": 0.02})
    assert "the recipe was changed" not in said
    assert artifact.read(tmp_path / "model").description.lineage.recipes == kept


def test_differences_of_recipes() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}) == ["b.c 2 -> 3", "d None -> 4"]


@pytest.mark.parametrize("ratio", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_pruning_empties_no_layer(ratio: float, scale: float) -> None:
    """By bare magnitudes 0.8 emptied a layer of a small CNN, and the job succeeded at chance level."""
    torch.manual_seed(0)
    model = build("cnn", arguments_for("cnn", Shape(1, 8, 8, 10), 8))
    found = prunable.touchable(model, [])
    answer, smallest = prunable.last(model), next(iter(found.values()))
    with torch.no_grad():
        smallest.weight.mul_(scale)
    kept, words = magnitude(model, CompressionStep.model_validate({"method": "magnitude", "ratio": ratio}))
    assert f"{answer}.weight" not in kept
    shares = {name: float(mask.float().mean()) for name, mask in kept.items()}
    assert all(share >= 0.15 * (1 - ratio) for share in shares.values()), shares
    total = sum(mask.numel() for mask in kept.values())
    assert sum(int((~mask).sum()) for mask in kept.values()) == pytest.approx(ratio * total, abs=1), words
