"""The training itself: steps, epochs, saves, and the place where SIGTERM is answered.

Called by run.py with the parts put together.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from slipway.api.common.artifact import Architecture
from slipway.api.training.recipe import Recipe
from workloads.compress.distillation import Teacher
from workloads.data import DataSet
from workloads.data.sample_order import Batch, ResumableSampler, TrainingSamples, training_loader
from workloads.data.texts.text import TextSet
from workloads.errors import Diverged, Terminated
from workloads.pod.signals import StopSignal
from workloads.train.checkpoints.best_weights import Best
from workloads.train.divergence import REMEDY, require_finite
from workloads.train.evaluation import evaluate
from workloads.train.optimisation import LearningRate
from workloads.train.optimisation.early_stopping import Patience
from workloads.train.optimisation.mixing import mixed, mixes
from workloads.train.strategies.base import Strategy
from workloads.train.tasks import Counting, Figures, Task
from workloads.train.telemetry.progress_reporter import ProgressReporter
from workloads.train.telemetry.throughput import ThroughputMeter
from workloads.train.telemetry.tracing import Tracing
from workloads.train.tracking.tracker import Trackers
from workloads.train.world import World

if TYPE_CHECKING:
    from workloads.train.checkpoints.checkpoint import Checkpoints


class _StopAskedError(Exception):
    """An evaluation was left, because the process was asked to stop."""


@dataclass
class Training:
    """One run under way. `step` counts finished optimizer steps and says alone where in which epoch the run is."""

    recipe: Recipe
    world: World
    strategy: Strategy
    task: Task
    teacher: Teacher | None
    data: DataSet | TextSet
    architecture: Architecture
    parameters: int
    compression: list[dict[str, Any]]
    """Figures before and after each step of the recipe's compression; empty without."""
    whole: dict[str, float]  # figures before compression, or of the teacher, for the gate; empty without
    rate: LearningRate
    checkpoints: "Checkpoints | None"
    save_every: int
    keep_best: int
    meter: ThroughputMeter
    tracing: Tracing
    report: ProgressReporter
    stop: StopSignal
    best: Best
    tracking: Trackers = field(default_factory=Trackers)
    patience: Patience = field(default_factory=Patience)
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    recipes: list[dict[str, Any]] = field(default_factory=list)
    """The recipe, and from which step on; more than one where a run goes on with another."""
    proof: Callable[[], None] | None = None
    """Called once, after the first step that is made."""
    carried: tuple[float, float] = (0.0, 0.0)
    """Sum of the losses of the samples of the epoch `step` is in, and how many; all processes, at the last save."""

    @property
    def micro_batch(self) -> int:
        """Samples of one forward pass of one model."""
        return self.recipe.global_batch_size // (self.world.shares * self.recipe.gradient_accumulation_steps)

    @property
    def evaluation_batch(self) -> int:
        """Samples that a process evaluates at a time."""
        return self.recipe.evaluation_batch_size or self.micro_batch

    def run(self) -> Figures:
        """Train to the end. Returns the last held-out figures.

        Terminated after SIGTERM, Diverged for a loss that is none.
        """
        try:
            figures = self._epochs()
        except Diverged:  # on all processes at the same step
            if self.checkpoints is not None:
                self.checkpoints.wait()  # the last good one may be under way, and the process ends soon
            raise
        if self.checkpoints is not None:
            self.checkpoints.wait()
        return figures or self._record(None)

    def _epochs(self) -> Figures | None:
        figures = None
        if self._to_be_judged and self.step < self.rate.total_steps and not self._recorded:
            self._record(None)  # it was stopped between a step and its evaluation
        while self.step < self.rate.total_steps and not self.patience.over:
            self._epoch()
            figures = self._record(self._finite_loss())
            if self.checkpoints is not None and (self.due or self.keep_best):
                self.save(self.checkpoints, figures.score)
        if self.patience.over:
            self.report.say(f"no better for {self.patience.waited} evaluations: the run ends at step {self.step}")
        return figures

    @property
    def _at_end_of_epoch(self) -> bool:
        return self.step > 0 and self.step % self.rate.steps_per_epoch == 0

    @property
    def _to_be_judged(self) -> bool:
        """Tell whether an evaluation belongs to this step."""
        every = self.recipe.evaluate_every_steps
        inside = every is not None and self.step > 0 and self.step % every == 0
        return self._at_end_of_epoch or self.step == self.rate.total_steps or inside

    @property
    def _recorded(self) -> bool:
        return any(row["step"] == self.step for row in self.history)

    @property
    def due(self) -> bool:
        """Tell whether a checkpoint belongs to this step."""
        return self.step % self.save_every == 0 or self.step == self.rate.total_steps

    def _epoch(self) -> None:
        """The rest of the epoch that `step` is in."""
        total, self._seen = self.carried if self.world.first and not self._at_end_of_epoch else (0.0, 0.0)
        self._loss = torch.tensor(total, dtype=torch.float64, device=self.world.device)
        self.meter.begin()
        for batches in self._batches_of(self.step // self.rate.steps_per_epoch):
            agreement = self.world.any(self.stop.requested)
            self.tracing.before(self.step)
            last = self._optimise(batches)
            self.tracing.after(self.step)
            self.step += 1
            self.tracking.point(self.step, self.meter.step(self.step, last))
            self.report.step(self.step, self._mean_loss)
            if agreement.result():
                self._terminate()
            if self.proof is not None:
                proof, self.proof = self.proof, None
                with self.meter.apart():
                    proof()
            if self._at_end_of_epoch or self.step == self.rate.total_steps:
                return  # it is saved after the evaluation, whose figures belong to it
            if self._to_be_judged:
                with self.meter.apart():
                    self._record(self._finite_loss(), inside=True)
                if self.patience.over:
                    return
            if self.checkpoints is not None and self.due:
                self.save(self.checkpoints)

    def _batches_of(self, epoch: int) -> Iterator[list[Batch]]:
        """One list of micro-batches per optimizer step, from the current step of the epoch on."""
        accumulation = self.recipe.gradient_accumulation_steps
        samples = TrainingSamples(self.data.training, self.data.augmentation, self.recipe.seed)
        samples.epoch = epoch
        world = self.world
        sampler = ResumableSampler(
            samples, world.shares, world.share, shuffle=True, seed=self.recipe.seed, drop_last=True
        )
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

    def _optimise(self, batches: list[Batch]) -> torch.Tensor:
        """One optimizer step; gradients are exchanged with the last micro-batch only. Returns its loss."""
        self.world.seed(self._step_seed())
        if isinstance(self.task, Counting):
            self.task.begin(batches, self.world)
        losses = self.strategy.learn(batches, self._ready, self._loss_of)
        for loss in losses:
            self._loss += loss * self.micro_batch
            self._seen += self.micro_batch
        self.strategy.step(self.rate.at(self.step))
        return losses[-1]

    def _step_seed(self) -> int:
        """Seed of this step, by (seed, step, share) alone: no generator's state needs saving."""
        return (self.recipe.seed * 1_000_003 + self.step) * 65_537 + self.world.share

    def _ready(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The model's input and what is to be learned, on the device."""
        samples, targets = (tensor.to(self.world.device, non_blocking=True) for tensor in batch)
        inputs, how = self.task.inputs(samples), self.recipe.augmentation
        return mixed(how, inputs, targets, len(self.data.labels)) if how and mixes(how) else (inputs, targets)

    def _loss_of(self, inputs: torch.Tensor, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        loss = self.task.loss(outputs, targets)
        return loss if self.teacher is None else self.teacher.loss(loss, inputs, outputs)

    def rehearse(self) -> torch.Tensor:
        """The loss of some batch, for a strategy that must have seen one before a state can be loaded."""
        samples, targets = self.data.training.batch(range(self.micro_batch))
        inputs, answers = self._ready((torch.from_numpy(samples), torch.from_numpy(targets)))
        return self._loss_of(inputs, self.strategy.forward(inputs, last=True), answers)

    def _mean_loss(self) -> float:
        """This process's mean loss of the epoch so far. Waits for the device: asked for only when it is shown."""
        return float(self._loss) / max(1, self._seen)

    def _finite_loss(self) -> float:
        """The epoch's mean loss so far over all processes; Diverged on all of them when it is not finite."""
        total, count = self.world.count([float(self._loss), float(self._seen)])
        if not math.isfinite(total):
            raise Diverged(f"the loss is {total} at step {self.step}: {REMEDY}")
        self.carried = (total, count)
        return total / max(1.0, count)

    def _record(self, loss: float | None, *, inside: bool = False) -> Figures:
        """Evaluate, at the end of an epoch or inside. `loss` is None when a resumed run had nothing left to train."""
        speed = self._speed() if loss and not inside else {}
        self.strategy.synchronise()
        figures = self._judged()
        epoch = -(-self.step // self.rate.steps_per_epoch)
        row = {"epoch": epoch, "step": self.step, "trainingLoss": loss, "learningRate": self.rate.at(self.step - 1)}
        before = next((row for row in self.history if row["step"] == self.step), {})
        known = {name: value for name, value in row.items() if value is not None}
        self.history = [row for row in self.history if row["step"] != self.step]
        self.history.append({**row, **before, **known, **speed, **figures.metrics})
        self._count_skipped()
        self.tracking.evaluation(self.history[-1])
        self.report.untracked(self.tracking.lost)
        self.report.epoch(self.step, loss, figures, speed)
        return figures

    def _judged(self) -> Figures:
        """Figures of the weights that would be published; they are kept where they are the best so far."""
        world, strategy, held_out = self.world, self.strategy, self.data.held_out
        try:
            with strategy.averaged():
                figures = evaluate(world, strategy, self.task, held_out, self.evaluation_batch, self._answer_stop)
                require_finite(world, strategy.model, figures, self.step)
                self.patience.judge(self.step, figures.score)
                if self.best.better(figures):
                    # The last step's weights are at hand when they are published.
                    last = self.step == self.rate.total_steps
                    self.best.keep(self.step, figures, None if last else strategy.weights())
        except _StopAskedError:  # the average is out of the way only here
            self._terminate()
        return figures

    def _count_skipped(self) -> None:
        """Samples that any process could not decode so far, where those are skipped."""
        bad = getattr(self.data, "bad", None)
        if bad is not None and bad.skips:
            self.report.skipped(len(self.world.union(bad.names())))

    def _speed(self) -> dict[str, float | int]:
        return self.meter.figures(self.world, self.recipe.global_batch_size, self.tracing.share)

    def _answer_stop(self) -> None:
        if self.world.any(self.stop.requested).result():
            raise _StopAskedError

    def save(self, checkpoints: "Checkpoints", score: float | None = None) -> None:
        """Save a checkpoint; Diverged for a loss that is not finite: that state would push out one worth keeping."""
        self._finite_loss()
        self.strategy.synchronise()
        state = {
            "history": self.history,
            "curve": self.meter.curve,
            "epochLoss": self.carried,
            "scaler": self.strategy.scaling(),
            "best": self.best.state(),
            "stopping": self.patience.state(),
            "recipes": self.recipes,
        }
        checkpoints.save(self.step, self.strategy.save(), state, score)
        self.report.saved(checkpoints.failed)

    def _terminate(self) -> NoReturn:
        if self.checkpoints is None:
            raise Terminated(f"terminated at step {self.step}; the job has no checkpoint.uri, so nothing is saved")
        started, checkpoints = time.monotonic(), self.checkpoints
        self.save(checkpoints)
        checkpoints.wait(must_succeed=True)
        self.world.barrier()  # the first process publishes the checkpoint: nobody leaves before
        raise Terminated(f"terminated: state of step {self.step} saved in {time.monotonic() - started:.1f} s")
