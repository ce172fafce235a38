"""Compression by the trainer's own loop: what comes out loads, exports, is served, and survives kill -9."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.train.processes import train, wait_for
from tests.unit.train.runs.runs import checkpoints, run, weights, write
from workloads.compress.sparsity_2_4 import pattern
from workloads.export.command import run as export
from workloads.models.from_artifact import load_model
from workloads.serve.engines.engine import Options
from workloads.serve.engines.torch_engine import open_engine
from workloads.serve.model import load

EXAMPLES = Path(__file__).parents[4] / "manifests/examples"
CHANNELS = {"method": "channels", "ratio": 0.5}
LOW_RANK = {"method": "low-rank", "energy": 0.9}
TWO_FOUR = {"method": "two-four"}
SMALL_RATE = {"name": "adamw", "learningRate": 0.003}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact to begin with, and to learn from."""
    folder = tmp_path_factory.mktemp("first")
    run(folder, "single", 1, model={"name": "cnn", "width": 8}, dataset={"name": "digits"}, epochs=4)
    return folder / "model"


def smaller(first: Path, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A recipe."""
    model = {"name": "cnn", "width": 8, "uri": first.as_uri()}
    return {
        "model": model,
        "dataset": {"name": "digits"},
        "compression": list(steps),
        "optimizer": SMALL_RATE,
        "epochs": 3,
        "compressionGate": {"maxDrop": 1},
        **more,
    }


def test_a_compressed_artifact_is_loaded_exported_and_served(first: Path, tmp_path: Path) -> None:
    teacher = {"teacher": {"uri": first.as_uri()}, "temperature": 2.0, "alpha": 0.5}
    output = run(tmp_path, "single", 1, **smaller(first, CHANNELS, LOW_RANK, distillation=teacher))
    assert "channels: 50% of the channels are removed" in output
    module, described = load_model(tmp_path / "model")
    _, whole = load_model(first)
    assert described.parameters < 0.4 * whole.parameters
    assert described.metrics["accuracy"] > 0.8
    before, *_, last = json.loads((tmp_path / "model/compression.json").read_text())
    assert (before["what"], last["what"]) == ("before", "trained")
    assert before["metrics"]["accuracy"] == pytest.approx(whole.metrics["accuracy"])
    assert last["metrics"]["accuracy"] == described.metrics["accuracy"]
    assert last["flops"] < 0.5 * before["flops"]
    assert last["parameters"] == described.parameters == sum(p.numel() for p in module.parameters())
    _, same = export(str(tmp_path / "model"), str(tmp_path / "exported"))
    assert same.difference < 1e-4
    engine = open_engine(load(str(tmp_path / "model"), "digits", "1"), Options(threads=1))
    pictures = np.random.RandomState(0).rand(3, 1, 8, 8).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(engine.run([pictures])[0], module(torch.from_numpy(pictures)).numpy(), rtol=1e-5)


def test_zeros_are_held_by_two_processes_and_published(first: Path, tmp_path: Path) -> None:
    run(tmp_path, "ddp", 2, **smaller(first, TWO_FOUR))
    found = weights(tmp_path)
    for name in ("features.3.weight", "hidden.weight", "last.weight"):
        assert ((found[name] != 0) <= pattern(found[name])).all()
        assert 0.5 <= (found[name] == 0).float().mean() < 0.6


def test_killed_while_it_is_trained_smaller_it_ends_with_the_very_same_weights(first: Path, tmp_path: Path) -> None:
    teacher = {"teacher": {"uri": first.as_uri()}}
    recipe = smaller(first, CHANNELS, {"method": "magnitude", "ratio": 0.5}, distillation=teacher, epochs=5)
    run(tmp_path / "undisturbed", "single", 1, **recipe)
    disturbed = tmp_path / "disturbed"
    config = write(disturbed, "single", **recipe)
    with train(config, 1, disturbed / "logs") as (running,):
        wait_for(lambda: checkpoints(disturbed), "a checkpoint")
        os.kill(running.process.pid, signal.SIGKILL)
        assert running.wait() != 0
    assert "resumed from step" in run(disturbed, "single", 1, **recipe)
    expected, found = weights(tmp_path / "undisturbed"), weights(disturbed)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert (found["hidden.weight"] == 0).any()


def test_what_was_made_smaller_is_where_the_next_training_begins(first: Path, tmp_path: Path) -> None:
    run(tmp_path / "one", "single", 1, **smaller(first, CHANNELS))
    run(tmp_path / "two", "single", 1, **smaller(tmp_path / "one/model", LOW_RANK))
    module, described = load_model(tmp_path / "two/model")
    changes = described.architecture.changes or []
    assert [bool(change.rank) for change in changes] == sorted(bool(change.rank) for change in changes)
    assert any(change.rank for change in changes)
    assert any(change.inputs for change in changes)
    with torch.no_grad():
        assert module(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_what_got_worse_than_allowed_is_not_published(first: Path, tmp_path: Path) -> None:
    """Half of the channels and one step to repair it: by default one percent may be lost, and far more is."""
    recipe = smaller(first, CHANNELS, epochs=1, maxSteps=1)
    del recipe["compressionGate"]
    config = write(tmp_path, "ddp", **recipe)
    with train(config, 2, tmp_path / "logs") as both:
        assert [one.wait() for one in both] == [3, 3], both[0].output
        assert "the compressed model is not published: held-out accuracy 0." in both[0].output
        assert "recipe.compressionGate allows 1 %: take less away" in both[0].output
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("epochs", "code"), [(0, 3), (8, 0)])
def test_a_student_is_held_against_its_teacher(first: Path, tmp_path: Path, epochs: int, code: int) -> None:
    """Distillation alone: a student of one step is not published, one that has learned is."""
    recipe: dict[str, Any] = {
        "model": {"name": "cnn", "width": 6},
        "dataset": {"name": "digits"},
        "distillation": {"teacher": {"uri": first.as_uri()}},
        "compressionGate": {"maxDrop": 0.1},
        "optimizer": {**SMALL_RATE, "learningRate": 0.01},
        "epochs": epochs or 1,
        **({} if epochs else {"maxSteps": 1}),
    }
    config = write(tmp_path, "single", **recipe)
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == code, one.output
    assert ("the teacher has: worse by" in one.output) is (code == 3)
    assert (tmp_path / "model").exists() is (code == 0)


@pytest.mark.slow
def test_the_example_of_compression_passes_its_own_gate(tmp_path: Path) -> None:
    """manifests/examples/trainingjob-compress.yaml, after the job that it takes its model from."""
    (tmp_path / "slipway-artifacts").mkdir()
    for name in ("trainingjob.yaml", "trainingjob-compress.yaml"):
        with train(EXAMPLES / name, 1, tmp_path / "logs", SLIPWAY_PVC_ROOT=str(tmp_path)) as (one,):
            assert one.wait() == 0, one.output
    _, whole = load_model(tmp_path / "slipway-artifacts/digits")
    _, small = load_model(tmp_path / "slipway-artifacts/digits-small")
    assert small.parameters < 0.5 * whole.parameters
    assert small.metrics["accuracy"] > 0.9 * whole.metrics["accuracy"]


REFUSED = {
    "spread gradients": ("fsdp2", {"compression": [TWO_FOUR]}, "fsdp2 spreads them: use strategy DDP"),
    "no channel left": (
        "single",
        {"compression": [{"method": "channels", "ratio": 0.95}]},
        "leaves none of the 8 channels of features.0",
    ),
    "nothing gets smaller": ("single", {"compression": [{"method": "low-rank", "energy": 1.0}]}, "lower energy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_in_words(first: Path, tmp_path: Path, case: str) -> None:
    strategy, fields, words = REFUSED[case]
    config = write(tmp_path, strategy, **{**smaller(first), **fields})
    with train(config, 1, tmp_path / "logs") as (running,):
        assert running.wait() == 2
        assert words in running.output


def test_a_teacher_of_other_labels_is_refused_in_words(first: Path, tmp_path: Path) -> None:
    other = {"name": "synthetic", "arguments": {"classes": "3", "height": "8", "width": "8", "channels": "1"}}
    recipe = {"model": {"name": "cnn", "width": 8}, "dataset": other, "globalBatchSize": 32}
    config = write(tmp_path, "single", **recipe, distillation={"teacher": {"uri": first.as_uri()}})
    with train(config, 1, tmp_path / "logs") as (running,):
        assert running.wait() == 2
        assert "has other labels: it knows 10 (" in running.output
