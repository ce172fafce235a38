"""The training itself: steps, epochs, saves, and the place where SIGTERM is answered.

Called by run.py with the parts put together.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slipway.api.recipe import Recipe
from workloads.data import DataSet
from workloads.data.samples import Batch, ResumableSampler, TrainingSamples, training_loader
from workloads.errors import Terminated
from workloads.train.evaluation import Evaluation, evaluate
from workloads.train.normalise import Normalise
from workloads.train.optimisation import LearningRate, NumberFormat
from workloads.train.report import Report
from workloads.train.stop import Stop
from workloads.train.strategy import Strategy
from workloads.train.world import World

if TYPE_CHECKING:
    from workloads.train.checkpoint import Checkpoints

EVALUATION_BATCH = 256


class Diverged(Exception):  # noqa: N818
    """The loss is not a number any more."""


@dataclass
class Training:
    """One run under way. `step` counts finished optimizer steps and says alone where in which epoch the run is."""

    recipe: Recipe
    world: World
    strategy: Strategy
    data: DataSet
    model: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    rate: LearningRate
    numbers: NumberFormat
    normalise: Normalise
    checkpoints: "Checkpoints | None"
    save_every: int
    report: Report
    stop: Stop
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def micro_batch(self) -> int:
        """Samples of one forward pass of one process."""
        return self.recipe.global_batch_size // (self.world.size * self.recipe.gradient_accumulation_steps)

    def run(self) -> Evaluation:
        """Train to the end. Returns the last epoch's held-out figures.

        Terminated after SIGTERM, Diverged for a loss that is none.
        """
        evaluation = None
        while self.step < self.rate.total_steps:
            self._epoch()
            evaluation = self._record(self._finite_loss())
        if self.checkpoints is not None:
            self.checkpoints.wait()
        return evaluation or self._record(None)

    def _epoch(self) -> None:
        """The rest of the epoch that `step` is in."""
        self._loss, self._batches = torch.zeros((), dtype=torch.float64, device=self.world.device), 0
        for batches in self._batches_of(self.step // self.rate.steps_per_epoch):
            agreement = self.world.any(self.stop.requested)
            self._optimise(batches)
            self.step += 1
            self.report.step(self.step, self._mean_loss)
            if agreement.result():
                self._terminate()
            if self.checkpoints is not None and (
                self.step % self.save_every == 0 or self.step == self.rate.total_steps
            ):
                self._save(self.checkpoints)

    def _batches_of(self, epoch: int) -> Iterator[list[Batch]]:
        """One list of micro-batches per optimizer step, from the current step of the epoch on."""
        accumulation = self.recipe.gradient_accumulation_steps
        samples = TrainingSamples(self.data.training, self.data.augmentation, self.recipe.seed)
        samples.epoch = epoch
        world = self.world
        sampler = ResumableSampler(samples, world.size, world.rank, shuffle=True, seed=self.recipe.seed, drop_last=True)
        sampler.set_epoch(epoch)
        sampler.start = (self.step % self.rate.steps_per_epoch) * accumulation * self.micro_batch
        loader = training_loader(
            samples, sampler, self.micro_batch, self.recipe.data_workers, pin=world.device.type == "cuda"
        )
        batches: list[Batch] = []
        for batch in loader:
            batches.append(batch)
            if len(batches) == accumulation:
                yield batches
                batches = []

    def _optimise(self, batches: list[Batch]) -> None:
        """One optimizer step; gradients are exchanged with the last micro-batch only."""
        torch.manual_seed(self._step_seed())
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate.at(self.step)
        for batch in batches[:-1]:
            with self.strategy.accumulating(self.wrapped):
                self._backward(batch, len(batches))
        self._backward(batches[-1], len(batches))
        scaler = self.numbers.scaler
        if self.recipe.gradient_clipping is not None:
            scaler.unscale_(self.optimizer)
            self.strategy.clip(self.model.parameters(), self.recipe.gradient_clipping)
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _step_seed(self) -> int:
        """Randomness inside the model depends on (seed, step, rank) alone: no generator's state needs saving."""
        return (self.recipe.seed * 1_000_003 + self.step) * 65_537 + self.world.rank

    def _backward(self, batch: Batch, share: int) -> None:
        pixels, labels = (tensor.to(self.world.device, non_blocking=True) for tensor in batch)
        with self.numbers.autocast():
            logits = self.wrapped(self.normalise(pixels))
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.numbers.scaler.scale(loss / share).backward()  # type: ignore[no-untyped-call]
        self._loss += loss.detach()
        self._batches += 1

    def _mean_loss(self) -> float:
        """This process's mean loss of the epoch so far. Waits for the device: asked for only when it is shown."""
        return float(self._loss) / max(1, self._batches)

    def _finite_loss(self) -> float:
        """The mean loss over all processes; Diverged on all of them when it is not finite."""
        total, count = self.world.sum([float(self._loss), float(self._batches)])
        if not math.isfinite(total):
            raise Diverged(
                f"the loss is {total} at step {self.step}: lower the learning rate, warm up, or clip the gradients"
            )
        return total / max(1.0, count)

    def _record(self, loss: float | None) -> Evaluation:
        """Evaluate at the end of an epoch. `loss` is None when a resumed run had nothing left to train."""
        self.strategy.synchronise(self.model)
        evaluation = evaluate(
            self.world, self.model, self._forward, self.data.held_out, EVALUATION_BATCH, self._answer_stop
        )
        epoch = self.step // self.rate.steps_per_epoch
        row = {"epoch": epoch, "step": self.step, "trainingLoss": loss, "learningRate": self.rate.at(self.step - 1)}
        self.history.append({**row, **evaluation.metrics()})
        self.report.epoch(self.step, loss, evaluation)
        return evaluation

    def _answer_stop(self) -> None:
        if self.world.any(self.stop.requested).result():
            self._terminate()

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        with self.numbers.autocast():
            logits: torch.Tensor = self.model(self.normalise(pixels))
        return logits.float()

    def _save(self, checkpoints: "Checkpoints") -> None:
        """A state that has diverged is not worth keeping, and would push out one that is."""
        self._finite_loss()
        self.strategy.synchronise(self.model)
        scaler = self.numbers.scaler.state_dict()
        checkpoints.save(self.step, self.model, self.optimizer, {"history": self.history, "scaler": scaler})

    def _terminate(self) -> None:
        if self.checkpoints is None:
            raise Terminated(f"terminated at step {self.step}; the job has no checkpoint.uri, so nothing is saved")
        started = time.monotonic()
        self._save(self.checkpoints)
        self.checkpoints.wait(must_succeed=True)
        self.world.barrier()  # the first process publishes the checkpoint: nobody leaves before
        raise Terminated(f"terminated: state of step {self.step} saved in {time.monotonic() - started:.1f} s")
