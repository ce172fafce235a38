"""Optimizer, learning rate by step, and number format.

Built from the recipe at the start of a run.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from slipway.api.training.recipe import Optimizer, OptimizerName, Precision, Schedule, ScheduleName
from workloads.errors import BadInput


def parameter_groups(choice: Optimizer, model: nn.Module) -> list[dict[str, Any]]:
    """Groups of parameters by weight decay, which is for matrices and kernels, not for biases and normalisation."""
    kernels = [parameter for parameter in model.parameters() if parameter.ndim > 1 and parameter.requires_grad]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1 and parameter.requires_grad]
    groups = [{"params": kernels, "weight_decay": choice.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(choice: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer; momentum is AdamW's beta1."""
    groups = parameter_groups(choice, model)
    if choice.name is OptimizerName.ADAMW:
        return torch.optim.AdamW(groups, lr=choice.learning_rate, betas=(choice.momentum, 0.999))
    return torch.optim.SGD(groups, lr=choice.learning_rate, momentum=choice.momentum)


def peak_rate(choice: Optimizer, global_batch_size: int) -> float:
    """The rate after the warm-up. In proportion to the batch where baseBatchSize is set (Goyal et al. 2017, 2.1)."""
    if choice.base_batch_size is None:
        return choice.learning_rate
    return choice.learning_rate * global_batch_size / choice.base_batch_size


@dataclass(frozen=True)
class LearningRate:
    """The rate as a function of the step: there is no state to save, so a resumed run cannot get out of step."""

    highest: float
    schedule: Schedule
    steps_per_epoch: int
    total_steps: int

    def __post_init__(self) -> None:
        if self.schedule.warmup_steps > self.total_steps:
            raise BadInput(
                f"schedule.warmupSteps is {self.schedule.warmup_steps}, the whole run has {self.total_steps} steps"
            )

    def at(self, step: int) -> float:
        """The rate of optimizer step `step`, counted from 0."""
        warmup = self.schedule.warmup_steps
        if step < warmup:
            return self.highest * (step + 1) / warmup
        if self.schedule.name is ScheduleName.COSINE:
            done = (step - warmup) / max(1, self.total_steps - warmup)
            return self.highest * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule.name is ScheduleName.STEP:
            cuts = step // self.steps_per_epoch // self.schedule.step_epochs
            return self.highest * float(self.schedule.gamma**cuts)
        return self.highest


class NumberFormat:
    """The dtype of forward and backward.

    The weights stay float32; float16 gradients are scaled so that small ones survive.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        if precision is Precision.FP16 and device.type != "cuda":
            raise BadInput("precision fp16 needs a CUDA device: use bf16 or fp32 on CPUs")
        self._device = device.type
        self._dtype = {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is Precision.FP16)

    def autocast(self) -> AbstractContextManager[None]:
        """Context of the forward pass, which computes in this dtype; without effect for float32."""
        return torch.autocast(self._device, self._dtype or torch.bfloat16, enabled=self._dtype is not None)
