"""Training loop of QAT, and of the training after compression.

Every step is a function of the seed and its number, and the state is kept now and then, so that a killed one goes on
and ends with the same weights. Labels and the float model's answers are learned together, as spec.qat says.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from slipway.api.common.artifact import Task
from workloads.compress.distillation import soft_loss
from workloads.data.normalisation import Normalise
from workloads.data.sample_order import TrainingSamples
from workloads.errors import BadInput
from workloads.quantize.context import Context

if TYPE_CHECKING:
    from workloads.data import DataSet

TEMPERATURE = 4.0  # of both answers in the distillation loss (Hinton et al. 2015)
SETTLED = 0.8  # share of the steps after which ranges and batch statistics are frozen (Krishnamoorthi 2018, 3.2.1)
SAVE_EVERY = 30.0  # seconds between two checkpoints


def _require_classes(context: "Context") -> None:
    """BadInput for a model whose answers are no class each: the loss here is of classes."""
    task = context.source.task
    if task in {Task.SEGMENTATION, Task.MULTI_LABEL, Task.REGRESSION, Task.OBJECT_DETECTION}:
        raise BadInput(
            f"qat and compression train on classes, and the model's task is {task}: prune it by a TrainingJob's "
            "recipe.compression with model.uri, and quantize it by static, dynamic or weight-only"
        )


@dataclass(frozen=True)
class Phases:
    """Differences between kinds of training: file of the state, name, how training begins, what is frozen near its end.

    `share`: how much of the loss asks for the teacher's answers.
    """

    state: str
    name: str
    begin: Callable[[nn.Module], object]
    settle: Callable[[nn.Module], object]
    share: float


class Training:
    """One run. BadInput when there is less data than a batch."""

    def __init__(
        self, context: Context, model: nn.Module, teacher: nn.Module, dataset: "DataSet", phases: Phases
    ) -> None:
        _require_classes(context)
        self._context, self._model, self._teacher, self._phases = context, model, teacher, phases
        self._choice = choice = context.job.spec.qat
        self._steps = choice.epochs * (len(dataset.training) // choice.batch_size)
        if self._steps == 0:
            raise BadInput(
                f"qat.batchSize {choice.batch_size} is more than the {len(dataset.training)} training images"
            )
        self._samples = TrainingSamples(dataset.training, dataset.augmentation, self._choice.seed)
        assert context.source.preprocessing is not None  # noqa: S101 (checked by the caller)
        self._normalise = Normalise(context.source.preprocessing, torch.device("cpu"))
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=self._choice.learning_rate)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def run(self) -> None:
        """Run all steps that are left."""
        self._phases.begin(self._model)
        first, saved = self._resume(), time.monotonic()
        for step in self._context.reporter.track(range(first, self._steps), "training", first):
            if step == int(SETTLED * self._steps):
                self._phases.settle(self._model)
            self._step(step)
            if time.monotonic() - saved >= SAVE_EVERY:
                self._save(step + 1)
                saved = time.monotonic()
        self._save(self._steps)

    def _step(self, step: int) -> None:
        # What a model draws by itself, for dropout say, is that of this step, whichever process takes it.
        torch.manual_seed(self._choice.seed * 1000003 + step)
        images, labels = self._batch(step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._choice.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self._steps))
        answer = self._model(images)
        share = self._phases.share
        loss = (1 - share) * nn.functional.cross_entropy(answer, labels)
        if share:
            with torch.no_grad():
                wanted = self._teacher(images)
            loss = loss + share * soft_loss(answer, wanted, TEMPERATURE)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        size, count = self._choice.batch_size, len(self._samples)
        epoch, position = divmod(step, count // size)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self._choice.seed * 100003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(count, generator=generator)
            self._samples.epoch = epoch
        pixels, labels = self._samples.__getitems__(self._order[position * size : (position + 1) * size].tolist())
        return self._normalise(pixels), labels

    def _save(self, step: int) -> None:
        """Save weights, ranges and moments in one file that appears by a rename."""
        from safetensors.torch import save_file

        state = {f"model.{name}": value.detach().contiguous() for name, value in self._model.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        path = self._context.work.path(self._phases.state)
        staged = path.with_name(f".{path.name}.partial")
        save_file({name: value.clone() for name, value in state.items()}, staged, {"step": json.dumps(step)})
        staged.rename(path)

    def _resume(self) -> int:
        """Load the saved state, if there is one; returns the step to go on with."""
        from safetensors import safe_open

        path = self._context.work.path(self._phases.state)
        if not path.exists():
            return 0
        with safe_open(path, "pt") as stored:
            step = int(json.loads(stored.metadata()["step"]))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        # Without `strict`, torchao's observers take over the shapes of the ranges they have seen.
        self._model.load_state_dict({n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, number, field = name.split(".")
                moments.setdefault(int(number), {})[field] = value
        own = self._optimizer.state_dict()
        self._optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
        self._context.reporter.say(f"{self._phases.name}: resumed at step {step} of {self._steps}")
        return step
