"""Initial model of a training: built from its name, filled with given weights, compressed by the recipe.

Called by setup.py, by all processes alike: what is taken away follows from weights and recipe alone, so a run that
is resumed, or another process, takes the same away. Figures of each step are kept for the artifact.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from slipway.api.common.artifact import Architecture
from slipway.api.common.artifact import Task as Kind
from slipway.api.training.compression import Distillation
from workloads import models, storage
from workloads.compress import distillation, masks
from workloads.compress.apply import compress
from workloads.compress.distillation import Teacher
from workloads.compress.masks import Masks
from workloads.compress.size import figures, latencies
from workloads.data import Samples
from workloads.errors import BadInput
from workloads.models import compressed, weights
from workloads.models.empty import parameters_without_memory
from workloads.train.evaluation import evaluate
from workloads.train.fine_tuning import causal_lm
from workloads.train.initial_values import Values, of_node
from workloads.train.job import Job
from workloads.train.strategies.base import Strategy
from workloads.train.tasks import Task
from workloads.train.telemetry.compression_figures import BEFORE, Row
from workloads.train.world import World


@dataclass
class InitialModel:
    """Initial model of a run, with the masks and figures of its compression.

    `kept`: weights that stay zero where it is false. `rows`: figures of the model before and after each step.
    """

    model: nn.Module
    architecture: Architecture
    kept: Masks = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    values: Values | None = None
    """Values of the parameters, where the model has no memory for them."""

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())


@dataclass
class UnwrappedModel:
    """A model that is not spread over processes yet, as `evaluate` asks for it."""

    model: nn.Module

    def judge(self, inputs: torch.Tensor, sums: Callable[[Any], list[float]]) -> list[float]:
        """The sums of the model's outputs, computed in float32."""
        return sums(self.model(inputs))


def begin(
    job: Job, architecture: Architecture, world: World, strategy: Strategy, task: Task, held_out: Samples
) -> InitialModel:
    """The model, the same in every process. BadInput for weights or steps that do not fit it."""
    made = _without_memory(job, architecture, world) if strategy.cuts else None
    made = made or whole(job, architecture, task, world.first)
    if job.recipe.compression:
        _compress(made, job, world, strategy, task, held_out)
    return made


def whole(job: Job, architecture: Architecture, task: Task | None, speaks: bool) -> InitialModel:
    """The model with its initial values, in this process's memory."""
    torch.manual_seed(job.recipe.seed)
    if architecture.name == causal_lm.NAME:
        return InitialModel(causal_lm.build(job.recipe, storage.fetch(str(job.recipe.model.uri))), architecture)
    made = InitialModel(models.build(architecture.name, architecture.arguments, own=True), architecture)
    if task is not None and _has_lazy(made.model):
        with torch.no_grad():
            made.model.eval()(example_of(task))  # lazy layers learn their sizes from what they are given first
        made.model.train()
    uri = job.recipe.model.uri
    if uri is not None:
        found = weights.changes_of(uri)
        compressed.rebuilt(made.model, found)
        made.architecture = architecture.model_copy(update={"changes": found or None})
        anew = weights.load(made.model, uri)
        if anew and speaks:
            print(f"weights of {uri}; of another shape, and so new: {', '.join(anew)}", flush=True)
    return made


def _without_memory(job: Job, architecture: Architecture, world: World) -> InitialModel | None:
    """The model without memory, and its values. None for a model that has to be built as a whole."""
    uri = job.recipe.model.uri
    adapted = architecture.name == causal_lm.NAME
    if adapted or job.recipe.compression or (uri is not None and weights.changes_of(uri)):
        return None
    torch.manual_seed(job.recipe.seed)
    try:
        with parameters_without_memory():
            model = models.build(architecture.name, architecture.arguments, own=True)
    except (RuntimeError, NotImplementedError, ValueError):  # code that looks at its numbers while it builds
        model = None
    odd = model is None or _has_lazy(model)
    if world.any(odd).result() or model is None:
        return None
    parts = weights.parts(model, uri) if uri is not None else None
    if world.any(parts is None).result() or parts is None:
        values = of_node(world, model, lambda: whole(job, architecture, None, world.first).model)
    else:
        values = Values(parts)
    if values is None:
        return None
    for name, buffer in model.named_buffers():
        if name in values.parts.places:
            values.fill(name, buffer)
    return InitialModel(model, architecture, values=values)


def _has_lazy(model: nn.Module) -> bool:
    return any(is_lazy(one) for one in (*model.parameters(), *model.buffers()))


def _compress(made: InitialModel, job: Job, world: World, strategy: Strategy, task: Task, held_out: Samples) -> None:
    example = example_of(task)
    seen, words = [copy.deepcopy(made.model)], [BEFORE]
    for step in job.recipe.compression or []:
        done = compress(made.model, [step], example)
        made.kept = masks.both(made.kept, done.kept)
        if done.changes:
            changed = [*(made.architecture.changes or []), *done.changes]
            made.architecture = made.architecture.model_copy(update={"changes": changed})
        seen.append(copy.deepcopy(made.model))
        words += done.words
        if world.first:
            print(done.words[0], flush=True)
    if made.kept and not strategy.holds_zeros:
        raise BadInput(
            f"recipe.compression: magnitude and two-four hold their zeros in whole gradients, and {strategy.name} "
            "spreads them: use strategy DDP, or channels and low-rank"
        )
    # By the first process alone, which is the only one that will tell.
    share = job.recipe.global_batch_size // (world.shares * job.recipe.gradient_accumulation_steps)
    batch = job.recipe.evaluation_batch_size or max(1, share)
    speed = latencies(seen, example) if world.first else [0.0] * len(seen)
    for what, model, milliseconds in zip(words, seen, speed, strict=True):
        found: Row = {"what": what, **figures(model, example), "p50Ms": milliseconds}
        if job.recipe.model.uri is not None:  # weights that nobody has trained have nothing to lose
            judged = evaluate(world, UnwrappedModel(model.to(world.device)), task, held_out, batch)
            found |= {"metrics": judged.metrics}
        made.rows.append(found)


def example_of(task: Task) -> torch.Tensor:
    """A batch of one, all zeros."""
    spec = task.describe().signature.inputs[0]
    shape = [1 if isinstance(axis, str) else axis for axis in spec.shape]
    return torch.zeros(shape, dtype=getattr(torch, spec.dtype.value))


def teacher_of(choice: Distillation | None, task: Task, device: torch.device) -> Teacher | None:
    """Teacher to learn from, if any. BadInput for a detector, or for a teacher of other labels or inputs."""
    if choice is None:
        return None
    said = task.describe()
    if said.task in {Kind.OBJECT_DETECTION, Kind.SEGMENTATION, Kind.REGRESSION, Kind.MULTI_LABEL}:
        raise BadInput(
            f"recipe.distillation is for models that answer one class or a token, not for {said.task}: remove it"
        )
    return distillation.load(choice, said.signature, said.labels, said.preprocessing, device)
