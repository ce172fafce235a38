"""Learning rates, parameter groups, number formats."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slipway.api.training.recipe import Optimizer, Precision, Schedule
from workloads.errors import BadInput
from workloads.train.optimisation import LearningRate, NumberFormat, build_optimizer


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


@given(st.sampled_from(["constant", "cosine", "step"]), st.integers(0, 40), st.integers(40, 200))
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
