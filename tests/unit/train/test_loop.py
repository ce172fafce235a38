"""The loop step by step, in this process: what a step is made of, what is saved when, what a resumed run has back."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.unit.train.conftest import digits_job
from tests.unit.train.processes import results
from workloads.errors import BadInput, Terminated
from workloads.pod.environment import read_place
from workloads.pod.signals import StopSignal
from workloads.train.job import Overrides, read_job
from workloads.train.loop import Training
from workloads.train.run import _resume
from workloads.train.setup import assemble
from workloads.train.tasks import Figures

OWN = "tests.unit.train.test_loop"


class Forgetful(nn.Module):
    """A linear layer behind a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(nn.functional.dropout(images.flatten(1), 0.5, self.training))
        return found


def forgetful(**_data: Any) -> nn.Module:
    """A model of the user's own."""
    return Forgetful()


def training(folder: Path, checkpoint: dict[str, Any] | None = None, **recipe: Any) -> Training:
    """A run of ten steps an epoch, at its first step."""
    recipe = {"dataset": {"name": "digits", "limit": 640}, "epochs": 3, **recipe}
    document = digits_job(folder, **recipe)
    document["spec"]["checkpoint"].update(checkpoint or {})
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    return assemble(read_job(path, Overrides()), read_place(os.environ), StopSignal())


def batches(run: Training) -> list[Any]:
    return next(iter(run._batches_of(0)))


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints/digits-6f1c4a52").glob("step-*"))


def test_dropout_depends_on_seed_step_and_process_alone(tmp_path: Path) -> None:
    """So that a resumed run goes on to the bit, and no two processes drop the same."""
    model = {"name": "custom", "callable": f"{OWN}:forgetful"}
    run = training(tmp_path, model=model, optimizer={"learningRate": 1e-9}, schedule={"name": "constant"})
    batch = batches(run)

    def loss(step: int = 0, rank: int = 0, chance: int = 0) -> float:
        torch.manual_seed(chance)
        run.step, run.world.rank = step, rank
        run._loss, run._seen = torch.zeros((), dtype=torch.float64), 0
        return float(run._optimise(batch))

    assert loss(chance=1) == pytest.approx(loss(chance=2), abs=1e-6)
    assert abs(loss(step=1) - loss()) > 1e-4
    assert abs(loss(rank=1) - loss()) > 1e-4


def test_the_largest_seed_takes_a_step_like_any_other(tmp_path: Path) -> None:
    """With step and share it is wider than the 64 bits that a generator takes, and still no two steps draw alike."""
    run = training(tmp_path, model={"name": "custom", "callable": f"{OWN}:forgetful"}, seed=2**31 - 1)
    draws = []
    for run.step in (0, 1):
        assert run._step_seed() >= 2**64
        run._loss, run._seen = torch.zeros((), dtype=torch.float64), 0
        run._optimise(batches(run))
        draws.append(torch.rand(8).tolist())
    assert draws[0] != draws[1]


def test_the_gradient_is_clipped_before_the_step(tmp_path: Path) -> None:
    plain = {"optimizer": {"learningRate": 1.0, "momentum": 0.0}, "schedule": {"name": "constant"}}
    moved = []
    for clipping in ({}, {"gradientClipping": 0.001}):
        run = training(tmp_path, **plain, **clipping)
        run._loss, run._seen = torch.zeros((), dtype=torch.float64), 0
        before = [parameter.detach().clone() for parameter in run.strategy.model.parameters()]
        run._optimise(batches(run))
        after = [parameter.detach() for parameter in run.strategy.model.parameters()]
        moved.append(sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)) ** 0.5)
    assert moved[0] > 0.01
    assert moved[1] == pytest.approx(0.001, rel=0.01)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_model_computes_in_the_recipes_precision(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    run = training(tmp_path, precision=precision)
    samples, _ = batches(run)[0]
    assert run.strategy.forward(run.task.inputs(samples)).dtype is dtype
    assert all(parameter.dtype is torch.float32 for parameter in run.strategy.model.parameters())


class Processes:
    """Samples whose class is the number of the process that read them."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __len__(self) -> int:
        return len(self._whole)

    def batch(self, indices: Any) -> Any:
        samples, _ = self._whole.batch(indices)
        return samples, np.full(len(indices), os.getpid())


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_read_by_as_many_processes_as_asked_for(tmp_path: Path, workers: int) -> None:
    run = training(tmp_path, dataWorkers=workers)
    run.data = replace(run.data, training=Processes(run.data.training))  # type: ignore[arg-type]
    found = {int(number) for (_, labels), *_ in run._batches_of(0) for number in labels}
    assert len(found - {os.getpid()}) == workers


def test_the_best_epoch_is_saved_and_kept_though_no_save_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.5, 0.9, 0.3, 0.4))

    def judged(*_asked: Any) -> Figures:
        score = next(scores)
        return Figures({"accuracy": score, "loss": 1.0, "samples": 1}, "", score)

    monkeypatch.setattr("workloads.train.loop.evaluate", judged)
    run = training(tmp_path, {"everySteps": 1000, "keepLast": 1, "keepBest": 1}, epochs=4)
    run.run()
    assert saved(tmp_path) == ["step-0000000020", "step-0000000040"]


def test_so_many_are_kept_and_saved_as_often_as_the_spec_says(tmp_path: Path) -> None:
    run = training(tmp_path, {"everySteps": 4, "keepLast": 3}, epochs=2)
    run.run()
    assert saved(tmp_path) == [f"step-{step:010d}" for step in (12, 16, 20)]


def test_a_resumed_run_has_back_what_the_last_one_knew(tmp_path: Path) -> None:
    first = training(tmp_path, {"everySteps": 5})
    first.run()
    for late in saved(tmp_path)[-1:]:
        (tmp_path / "checkpoints/digits-6f1c4a52" / late / "manifest.json").unlink()
    again = training(tmp_path, {"everySteps": 5})
    assert _resume(again) == 25
    assert [row["epoch"] for row in again.history] == [1, 2]
    assert again.meter.curve == [point for point in first.meter.curve if point[0] <= 25]
    total, count = again.carried
    assert count == 5 * 64, "the samples of half an epoch"
    mean = np.mean([loss for step, loss in first.meter.curve if 20 < step <= 25])
    assert total / count == pytest.approx(mean, rel=1e-4)


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    def synthetic(vocabulary: str) -> Training:
        arguments = {"samples": "640", "channels": "1", "height": "8", "width": "8", "vocabulary": vocabulary}
        return training(tmp_path, epochs=1, dataset={"name": "synthetic", "arguments": arguments})

    synthetic("7").run()
    with pytest.raises(BadInput, match="made with dataset sha256:"):
        _resume(synthetic("8"))


def test_sigterm_is_answered_in_the_middle_of_an_evaluation(tmp_path: Path) -> None:
    run = training(tmp_path)
    run._epoch()
    run.stop.requested = True
    with pytest.raises(Terminated, match="state of step 10 saved"):
        run._record(1.0)
    assert saved(tmp_path) == ["step-0000000010"]


def test_training_begins_with_the_weights_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = training(tmp_path, seed=7).strategy.weights()
    torch.save(other, tmp_path / "own.pt")
    model = {"name": "cnn", "width": 8, "uri": (tmp_path / "own.pt").as_uri()}
    begun = training(tmp_path, seed=8, model=model).strategy.weights()
    assert all(torch.equal(tensor, other[name]) for name, tensor in begun.items())
    assert "and so new" not in capsys.readouterr().out
    fewer = {name: tensor[:3] if name.startswith("last") else tensor for name, tensor in other.items()}
    torch.save(fewer, tmp_path / "own.pt")
    training(tmp_path, seed=8, model=model)
    assert "of another shape, and so new: last.weight, last.bias" in capsys.readouterr().out


def exchanges(folder: str) -> list[int]:
    """On each of two ranks: how many buckets travel in each of two steps of four micro-batches."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    shared = {"uri": (Path(folder) / "checkpoints").as_uri()}
    run = training(Path(folder) / os.environ["RANK"], shared, gradientAccumulationSteps=4)
    travelled = []

    def counting(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        travelled.append(run.step)
        return allreduce_hook(state, bucket)

    run.strategy._ddp.register_comm_hook(None, counting)  # type: ignore[attr-defined]
    run._loss, run._seen = torch.zeros((), dtype=torch.float64), 0
    for step, parts in zip(range(2), run._batches_of(0), strict=False):
        assert len(parts) == 4
        run.step = step
        run._optimise(parts)
    return [travelled.count(step) for step in range(2)]


def test_gradients_travel_once_a_step_however_many_parts_it_has(tmp_path: Path) -> None:
    for rank in ("0", "1"):
        (tmp_path / rank).mkdir()
    for found in results(exchanges, (str(tmp_path),), 2, tmp_path):
        assert found[0] == found[1] <= 2, "a small model is one bucket, or two at first"
