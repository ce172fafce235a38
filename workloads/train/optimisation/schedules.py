"""Learning rate by optimizer step. Pure: there is no state to save, so a resumed run cannot get out of step.

Counted in steps of the optimizer and never in micro-batches, so accumulation changes nothing.
"""

import math
from dataclasses import dataclass

from slipway.api.training.learning.optimizer import Optimizer, Schedule, ScheduleName
from workloads.errors import BadInput

# torch's OneCycleLR (Smith, Topin 2017): where it begins and ends, as parts of the peak, and the share of its rise.
CYCLE_BEGIN, CYCLE_END, CYCLE_RISE = 1 / 25, 1 / 25 / 1e4, 0.3
DECAY_SHARE = 0.1


def peak_rate(choice: Optimizer, global_batch_size: int) -> float:
    """The rate after the warm-up. In proportion to the batch where baseBatchSize is set (Goyal et al. 2017, 2.1)."""
    if choice.base_batch_size is None:
        return choice.learning_rate
    return choice.learning_rate * global_batch_size / choice.base_batch_size


@dataclass(frozen=True)
class LearningRate:
    """The rate as a function of the step."""

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
        if self.schedule.name is ScheduleName.ONE_CYCLE:
            return self.highest * self._cycle(step)
        warmup = self.schedule.warmup_steps
        if step < warmup:
            return self.highest * (step + 1) / warmup
        return self.highest * self._after(step, warmup)

    def _after(self, step: int, warmup: int) -> float:
        """The share of the peak after the warm-up."""
        name, last = self.schedule.name, self.schedule.final_share or 0.0
        done = (step - warmup) / max(1, self.total_steps - warmup)
        if name is ScheduleName.COSINE:
            return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))
        if name is ScheduleName.LINEAR:
            return 1 - (1 - last) * done
        if name is ScheduleName.STEP:
            return float(self.schedule.gamma ** (step // self.steps_per_epoch // self.schedule.step_epochs))
        if name is ScheduleName.WSD:
            falling = max(1, round((self.schedule.decay_share or DECAY_SHARE) * self.total_steps))
            begin = max(warmup, self.total_steps - falling)
            return 1.0 if step < begin else 1 - (1 - last) * (step - begin) / max(1, self.total_steps - begin)
        return 1.0

    def _cycle(self, step: int) -> float:
        """The share of the peak in a cycle: up by half a cosine, and down by another."""
        rise = float(self.schedule.warmup_steps or CYCLE_RISE * self.total_steps) - 1
        if step <= rise:
            return _half_cosine(CYCLE_BEGIN, 1.0, step / rise if rise > 0 else 1.0)
        return _half_cosine(1.0, CYCLE_END, min(1.0, (step - rise) / max(1e-9, self.total_steps - 1 - rise)))


def _half_cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))
