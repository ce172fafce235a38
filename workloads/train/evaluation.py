"""Evaluation of the model on held-out data. Run by all processes together, each sample counted once."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from workloads.data import Samples
from workloads.train.tasks import Figures, Task
from workloads.train.world import World


class Evaluable(Protocol):
    """Model under evaluation: a strategy, or a model that is not spread yet."""

    model: nn.Module

    def judge(self, inputs: torch.Tensor, sums: Callable[[Any], list[float]]) -> list[float]:
        """The sums of the model's outputs."""


def evaluate(
    world: World,
    strategy: Evaluable,
    task: Task,
    held_out: Samples,
    batch_size: int,
    between: Callable[[], None] = lambda: None,
) -> Figures:
    """The task's figures over all held-out samples.

    Share r of w takes samples r, r + w, r + 2w, ...: they differ by at most one in size, nothing is padded, so nothing
    counts twice. `between` is called before each batch, equally often by every process.
    """
    mine = range(world.share, len(held_out), world.shares)
    sums: list[float] = []
    strategy.model.eval()
    with torch.no_grad():
        # The largest share, so that all take equal turns: where parameters are gathered, a turn is for all.
        for start in range(0, -(-len(held_out) // world.shares), batch_size):
            between()
            found = _turn(world, strategy, task, held_out, mine[start : start + batch_size])
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
    strategy.model.train()
    return task.figures(world.count(sums))


def _turn(world: World, strategy: Evaluable, task: Task, held_out: Samples, chosen: range) -> list[float]:
    """The sums of one batch; all zero for a process that has nothing left and only keeps step with the others."""
    samples, answers = held_out.batch(chosen or [0])
    targets = torch.from_numpy(answers).to(world.device)
    inputs = task.inputs(torch.from_numpy(samples).to(world.device))
    found = strategy.judge(inputs, lambda outputs: task.sums(outputs, targets))
    return found if chosen else [0.0] * len(found)
