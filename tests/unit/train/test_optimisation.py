"""Learning rates, parameter groups, number formats."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slipway.api.training.learning.optimizer import Optimizer, OptimizerName, Schedule
from slipway.api.training.recipe import Augmentation, Precision, Recipe
from workloads.data import InMemory, Part
from workloads.errors import BadInput
from workloads.train.optimisation import LearningRate, NumberFormat, build_optimizer, parameter_groups
from workloads.train.optimisation.early_stopping import Patience
from workloads.train.optimisation.mixing import mixed
from workloads.train.tasks.class_weights import weights_of
from workloads.train.tasks.classify import Classification


def rates(total: int = 100, per_epoch: int = 10, **schedule: object) -> list[float]:
    rate = LearningRate(0.5, Schedule(**schedule), per_epoch, total)  # type: ignore[arg-type]
    return [rate.at(step) for step in range(total)]


def test_constant_after_linear_warmup() -> None:
    found = rates(name="constant", warmupSteps=4)
    assert found[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert set(found[4:]) == {0.5}


def test_cosine_falls_to_nothing() -> None:
    found = rates(name="cosine")
    assert found[0] == 0.5
    assert found[50] == pytest.approx(0.25)
    assert found[99] < 0.001
    assert found == sorted(found, reverse=True)


def test_step_cuts_after_whole_epochs() -> None:
    found = rates(name="step", stepEpochs=3, gamma=0.1)
    assert found[29] == 0.5
    assert found[30] == pytest.approx(0.05)
    assert found[60] == pytest.approx(0.005)


@given(
    st.sampled_from(["constant", "cosine", "linear", "step", "wsd", "one-cycle"]),
    st.integers(0, 40),
    st.integers(40, 200),
)
def test_rates_stay_positive_and_below_the_highest(name: str, warmup: int, total: int) -> None:
    found = rates(total, 7, name=name, warmupSteps=warmup)
    assert all(0 < rate <= 0.5 for rate in found)


def test_more_warmup_than_steps_is_refused() -> None:
    with pytest.raises(BadInput, match="the whole run has 100 steps"):
        rates(warmupSteps=101)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_decay_is_for_kernels_only(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    optimizer = build_optimizer(Optimizer(name=name, weight_decay=0.1), model)  # type: ignore[arg-type]
    assert isinstance(optimizer, kind)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(model[0].weight), id(model[2].weight)}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


@pytest.mark.parametrize(("name", "field", "value"), [("sgd", "momentum", 0.5), ("adamw", "betas", (0.5, 0.999))])
def test_momentum_is_the_recipes(name: str, field: str, value: object) -> None:
    optimizer = build_optimizer(Optimizer(name=name, momentum=0.5), nn.Linear(2, 2))  # type: ignore[arg-type]
    assert all(group[field] == value for group in optimizer.param_groups)


def test_fp16_needs_cuda() -> None:
    with pytest.raises(BadInput, match="use bf16 or fp32"):
        NumberFormat(Precision.FP16, torch.device("cpu"))


def test_bf16_computes_in_bf16_and_fp32_does_not() -> None:
    layer = nn.Linear(2, 2)
    with NumberFormat(Precision.BF16, torch.device("cpu")).autocast():
        assert layer(torch.ones(1, 2)).dtype is torch.bfloat16
    with NumberFormat(Precision.FP32, torch.device("cpu")).autocast():
        assert layer(torch.ones(1, 2)).dtype is torch.float32


def torchs(build: Any, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    schedule, found = build(optimizer), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_schedules_are_those_of_torch() -> None:
    schedulers = torch.optim.lr_scheduler
    cycle = torchs(lambda one: schedulers.OneCycleLR(one, 0.5, total_steps=100, cycle_momentum=False), 100)
    assert rates(name="one-cycle") == pytest.approx(cycle)
    line = torchs(lambda one: schedulers.LinearLR(one, 1.0, 0.1, total_iters=100), 100)
    assert rates(name="linear", finalShare=0.1) == pytest.approx(line)
    curve = torchs(lambda one: schedulers.CosineAnnealingLR(one, 100, eta_min=0.05), 100)
    assert rates(name="cosine", finalShare=0.1) == pytest.approx(curve)


def test_wsd_is_constant_until_it_falls() -> None:
    found = rates(name="wsd", warmupSteps=5, decayShare=0.2, finalShare=0.5)
    assert set(found[5:81]) == {0.5}
    assert found[90] == pytest.approx(0.375)
    assert found[80:] == sorted(found[80:], reverse=True)


def steps_of(**recipe: Any) -> int:
    from tests.unit.train.conftest import digits_job
    from workloads.train.setup import _rate

    found = Recipe.model_validate(digits_job(Path("/x"), **recipe)["spec"]["recipe"])
    data = SimpleNamespace(training=range(640))
    return _rate(SimpleNamespace(recipe=found), data).total_steps  # type: ignore[arg-type]


def test_accumulation_does_not_stretch_the_schedule() -> None:
    """transformers and accelerate have counted a schedule's length in micro-batches."""
    assert steps_of(epochs=3) == steps_of(epochs=3, gradientAccumulationSteps=8) == 30


def test_constants_are_the_recipes() -> None:
    layer = nn.Linear(2, 2)
    adam = build_optimizer(Optimizer(name="adamw", beta2=0.95, epsilon=1e-6, amsgrad=True), layer).param_groups[0]  # type: ignore[arg-type]
    assert (adam["betas"], adam["eps"], adam["amsgrad"]) == ((0.9, 0.95), 1e-6, True)
    sgd = build_optimizer(Optimizer(nesterov=True, momentum=0.8), layer).param_groups[0]
    assert (sgd["nesterov"], sgd["momentum"]) == (True, 0.8)


def test_named_parameters_do_not_decay_and_a_wrong_name_is_refused() -> None:
    model = nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 2))
    groups = parameter_groups(Optimizer(weight_decay=0.1, no_decay=["0.*"]), model)
    assert [len(group["params"]) for group in groups if group["weight_decay"]] == [1]
    with pytest.raises(BadInput, match="no parameter is called 'embed"):
        parameter_groups(Optimizer(no_decay=["embed*"]), model)


def test_muon_has_the_matrices_inside_and_adamw_the_rest() -> None:
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 8))
    optimizer = build_optimizer(Optimizer(name="muon", weight_decay=0.1, learning_rate=0.01), model)  # type: ignore[arg-type]
    named = {id(one): name for name, one in model.named_parameters()}
    muon = [named[id(one)] for group in optimizer.param_groups if group["muon"] for one in group["params"]]
    assert muon == ["1.weight"]
    model(torch.arange(8)).sum().backward()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    optimizer.step()
    assert all(not torch.equal(one, before[name]) for name, one in model.named_parameters() if name != "0.weight")
    assert set(optimizer.state[model[1].weight]) == {"momentum_buffer"}
    with pytest.raises(BadInput, match="for matrices between"):
        build_optimizer(Optimizer(name="muon"), nn.Linear(2, 2))  # type: ignore[arg-type]


@given(st.floats(0.05, 5), st.integers(1, 6), st.sampled_from(["mixup", "cutmix"]))
def test_mixed_targets_are_shares_of_what_is_seen(alpha: float, count: int, how: str) -> None:
    torch.manual_seed(count)
    pictures = torch.arange(count).float()[:, None, None, None].expand(count, 1, 8, 8)
    found, shares = mixed(Augmentation(**{how: alpha}), pictures, torch.arange(count), count)  # type: ignore[arg-type]
    assert torch.allclose(shares.sum(1), torch.ones(count))
    # A picture of class k is k everywhere: so its mean is the mean of its classes.
    assert torch.allclose(found.mean((1, 2, 3)), shares @ torch.arange(count).float(), atol=1e-4)


def test_rare_classes_weigh_more_and_the_mean_stays() -> None:
    labels = np.repeat([0, 1], [30, 10])
    samples = Part(InMemory(np.zeros((40, 1, 2, 2), np.uint8), labels), np.arange(40))
    recipe = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}}
    balanced = Recipe.model_validate({**recipe, "balanceClasses": True})
    found = weights_of(balanced, ["a", "b"], samples, torch.device("cpu"))
    assert found is not None
    assert found.tolist() == pytest.approx([2 / 3, 2.0])
    named = Recipe.model_validate({**recipe, "classWeights": {"c": 2.0}})
    with pytest.raises(BadInput, match="names 'c', and the labels are a, b"):
        weights_of(named, ["a", "b"], samples, torch.device("cpu"))


def test_weighted_losses_of_shares_are_that_of_the_whole() -> None:
    """By the sum of weights, as torch has it, a batch in two parts would be another batch."""
    task = Classification(0.1, 2, torch.tensor([1.0, 5.0]))
    outputs, targets = torch.randn(8, 2), torch.tensor([0, 0, 0, 0, 1, 1, 1, 0])
    halves = [task.loss(outputs[part], targets[part]) for part in (slice(0, 4), slice(4, 8))]
    assert torch.stack(halves).mean() == pytest.approx(float(task.loss(outputs, targets)))


def test_patience_counts_a_step_once_and_goes_on_after_a_restart() -> None:
    from slipway.api.training.learning.optimizer import EarlyStopping

    choice = EarlyStopping(patience=2, min_delta=0.1)
    first = Patience(choice)
    for step, score in enumerate([0.5, 0.55, 0.55]):
        first.judge(step, score)
        first.judge(step, score)
    assert (first.waited, first.over) == (2, True)
    again = Patience(choice)
    again.resume(first.state())
    assert again.over
    again.judge(9, 0.7)
    assert not again.over


def test_the_memory_model_counts_what_an_optimizer_keeps() -> None:
    from slipway.api.training.learning.optimizer import Average, moment_bytes
    from slipway.api.training.memory import StrategyName, Workload, states

    adam = Optimizer(name=OptimizerName.ADAMW)
    assert moment_bytes(adam, Average()) == 12
    assert moment_bytes(Optimizer(momentum=0.0), None) == 0
    with_average = Workload(1000, 1, sixteen_bit=False, moments=moment_bytes(adam, Average()))
    assert states(with_average, StrategyName.DDP)[0] == 1000 * (4 + 4 + 8 + 4)
