"""Refusal of a model that has left the numbers: weights and held-out figures must be finite."""

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from workloads.errors import Diverged
from workloads.train.tasks import Figures
from workloads.train.world import World

REMEDY = "lower the learning rate, warm up, or clip the gradients"


def require_finite(world: World, model: nn.Module, figures: Figures, step: int) -> None:
    """Diverged, on all processes alike, when the last update broke the model: no training loss has seen it yet."""
    parameters = [one for one in model.parameters() if one.is_floating_point()]
    broken = sum(float(not bool(_local(one).isfinite().all())) for one in parameters)
    bad = [name for name, value in figures.metrics.items() if not math.isfinite(value)]
    if world.sum([broken])[0]:
        raise Diverged(f"weights are not finite after step {step}: {REMEDY}")
    if bad:
        raise Diverged(f"the held-out {bad[0]} is {figures.metrics[bad[0]]} after step {step}: {REMEDY}")


def _local(parameter: torch.Tensor) -> torch.Tensor:
    """This process's part of a parameter."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter.detach()
