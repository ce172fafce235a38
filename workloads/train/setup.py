"""Assembly of a run from its job: reads the data, meets the other processes, builds and spreads the model.

Called by run.py, and by the benchmark beside a bare loop.
"""

import math
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from slipway.api.common.artifact import Architecture
from slipway.api.common.sources import DatasetChoice, ModelName
from slipway.api.training.learning.task import TrainingTask
from slipway.api.training.processes import unknown_to_trainer
from slipway.api.training.recipe import Augmentation, Publish, Recipe
from workloads import data, models, storage
from workloads.compress import masks
from workloads.compress.distillation import Teacher
from workloads.data import DataSet
from workloads.data.detection.boxes import BoxSet
from workloads.data.own_dataset import ArraySet
from workloads.data.targets import spread_of
from workloads.data.texts.supervised import SupervisedSet
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.models.outputs import spread_arguments
from workloads.pod.cpus import cpu_limit
from workloads.pod.environment import Place, threads
from workloads.pod.signals import StopSignal
from workloads.train import strategies, tasks
from workloads.train.checkpoints.best_weights import Best
from workloads.train.evaluation import evaluate
from workloads.train.fine_tuning import causal_lm
from workloads.train.initial_model import InitialModel, UnwrappedModel, begin, teacher_of
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.optimisation import LearningRate, peak_rate
from workloads.train.optimisation.early_stopping import Patience
from workloads.train.optimisation.mixing import mixes
from workloads.train.strategies.base import Strategy
from workloads.train.tasks import Task
from workloads.train.tasks.preference import Preference
from workloads.train.telemetry import device_flops, training_flops
from workloads.train.telemetry.progress_reporter import ProgressReporter
from workloads.train.telemetry.throughput import ThroughputMeter, Work
from workloads.train.telemetry.tracing import Tracing
from workloads.train.world import World

if TYPE_CHECKING:
    from workloads.train.checkpoints.checkpoint import Checkpoints

PICTURE_AXES = 3
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"  # which the kubelet sets; on a laptop any manifest may run on the CPU


def assemble(job: Job, place: Place, stop: StopSignal) -> Training:
    """The run at its first step. BadInput for what cannot be trained as it is asked for."""
    torch.set_num_threads(threads(place, os.environ, cpu_limit()))
    torch.backends.cudnn.deterministic = True
    _require_even_batches(job, place)
    strategy = strategies.choose(job, place, os.environ)
    world = strategy.setup(place)
    _require_used(job, world)
    if job.spec.output is not None:
        world.decide(partial(storage.check_output, job.spec.output.uri, job.writer))
    dataset = augmented(data.open_set(dataset_of(job.recipe), job.recipe.task), job.recipe.augmentation)
    stop.begin()  # from here on the processes depend on each other: they stop together, at a step's end
    return _training(job, strategy, world, dataset, stop)


def dataset_of(recipe: Recipe) -> DatasetChoice:
    """The recipe's data set; of text for a model that has tokens of its own, cut as that model has it."""
    chosen, model = recipe.dataset, recipe.model
    if model.name is ModelName.CAUSAL_LM:
        return chosen.model_copy(update={"tokenizer": model.uri})
    texts = chosen.name.value.startswith(("text", "hugging"))
    if model.name is not ModelName.HUGGING_FACE or not texts or chosen.tokenizer is not None:
        return chosen
    if not (storage.fetch(str(model.uri)) / "tokenizer.json").is_file():
        raise BadInput(
            f"{model.uri}: there is no tokenizer.json, which says what its tokens are: set dataset.tokenizer"
        )
    return chosen.model_copy(update={"tokenizer": model.uri})


def _require_used(job: Job, world: World) -> None:
    """BadInput for accelerators that would be counted and then not used: hours on the CPU, without a word."""
    asked = unknown_to_trainer(job.spec)
    if asked and world.device.type == "cpu" and IN_CLUSTER in os.environ:
        raise BadInput(
            f"trainer.resourcesPerNode has {', '.join(asked)}, and the built-in trainer computes on CUDA or ROCm: "
            "it would train on the CPU. Ask for another device, or bring a program for this one as trainer.command"
        )


def augmented(dataset: DataSet | TextSet, wanted: Augmentation | None) -> DataSet | TextSet:
    """Data set with the recipe's changes of pictures in place of its own. BadInput where they do not fit."""
    if wanted is None:
        return dataset
    if isinstance(dataset, TextSet):
        raise BadInput("recipe.augmentation changes pictures, and the data set holds text: remove it")
    if isinstance(dataset, ArraySet):
        raise BadInput(
            "recipe.augmentation changes pictures of 8 bits, and these are floats: change them in __getitem__"
        )
    boxes = isinstance(dataset, BoxSet)
    if boxes and mixes(wanted):
        raise BadInput(
            "recipe.augmentation: mixup and cutmix mix classes of pictures, and these have boxes: remove them"
        )
    if dataset.task is not TrainingTask.CLASSIFICATION and mixes(wanted):
        raise BadInput(
            f"recipe.augmentation: mixup and cutmix mix one class with another, and task {dataset.task} has not one "
            "class per picture: remove them"
        )
    if (wanted.shift if boxes else wanted.scale) is not None:
        field = "shift" if boxes else "scale"
        raise BadInput(f"recipe.augmentation.{field} is for pictures {'without' if boxes else 'with'} boxes: remove it")
    own, height = dataset.augmentation, dataset.preprocessing.height
    chosen = data.Augmentation(
        flip=own.flip if wanted.mirror is None else wanted.mirror,
        shift=own.shift if wanted.shift is None else round(wanted.shift * height),
        scale=own.scale if wanted.scale is None else wanted.scale,
    )
    return replace(dataset, augmentation=chosen)


def _rate(job: Job, dataset: DataSet | TextSet) -> LearningRate:
    recipe, samples = job.recipe, len(dataset.training)
    steps_per_epoch = samples // recipe.global_batch_size
    if steps_per_epoch == 0:
        raise BadInput(f"recipe.globalBatchSize {recipe.global_batch_size} is more than the {samples} training samples")
    highest = peak_rate(recipe.optimizer, recipe.global_batch_size)
    total = min(steps_per_epoch * recipe.epochs, recipe.max_steps or steps_per_epoch * recipe.epochs)
    return LearningRate(highest, recipe.schedule, steps_per_epoch, total)


def _training(job: Job, strategy: Strategy, world: World, dataset: DataSet | TextSet, stop: StopSignal) -> Training:
    recipe, kept = job.recipe, job.spec.checkpoint
    rate = _rate(job, dataset)
    if recipe.profile is not None and recipe.profile.first_step + recipe.profile.steps > rate.total_steps:
        raise BadInput(f"recipe.profile ends after the run, which has {rate.total_steps} steps: trace earlier ones")
    task = tasks.for_data(dataset, recipe, world.device)
    start = begin(job, architecture_of(job, dataset), world, strategy, task, dataset.held_out)
    if isinstance(task, Preference):
        task.refer(start.model, world)
    example = task.inputs(torch.from_numpy(dataset.held_out.batch([0, 0])[0]).to(world.device))
    flops = training_flops.of_sample(start.model, example)
    work = Work(task.tokens, flops, device_flops.of_device(world.device, recipe.precision))
    parameters = start.parameters  # a strategy may leave each process a part of them
    teacher = teacher_of(recipe.distillation, task, world.device)
    strategy.wrap(start.model, start.values)
    masks.hold(strategy.model, start.kept)
    return Training(
        recipe=recipe,
        world=world,
        strategy=strategy,
        task=task,
        teacher=teacher,
        data=dataset,
        architecture=start.architecture,
        compression=start.rows,
        whole=_whole(job, start, teacher, task, dataset, world),
        parameters=parameters,
        rate=rate,
        checkpoints=_checkpoints(job, world, dataset, start),
        save_every=kept.every_steps if kept else 0,
        keep_best=kept.keep_best if kept else 0,
        meter=ThroughputMeter(rate.total_steps, work),
        tracing=Tracing(recipe.profile, world),
        report=_report(world, rate, recipe.global_batch_size),
        stop=stop,
        best=_best(job, world),
        patience=Patience(recipe.early_stopping),
    )


def _whole(
    job: Job, start: InitialModel, teacher: Teacher | None, task: Task, dataset: DataSet | TextSet, world: World
) -> dict[str, float]:
    """Figures that the published model is held against by the gate; empty where it has none."""
    recipe = job.recipe
    if recipe.compression and start.rows:
        return dict(start.rows[0].get("metrics", {}))
    if recipe.compression_gate is None or teacher is None:
        return {}
    share = recipe.global_batch_size // (world.shares * recipe.gradient_accumulation_steps)
    batch = recipe.evaluation_batch_size or max(1, share)
    return evaluate(world, UnwrappedModel(teacher.model), task, dataset.held_out, batch).metrics


def _report(world: World, rate: LearningRate, batch: int) -> ProgressReporter:
    return ProgressReporter(
        first=world.first, total_steps=rate.total_steps, steps_per_epoch=rate.steps_per_epoch, batch=batch
    )


def _best(job: Job, world: World) -> Best:
    """Keeper of the best weights, beside the checkpoints; it keeps them only where the job publishes the best."""
    root = storage.local_path(job.spec.checkpoint.uri) if job.spec.checkpoint is not None else None
    wanted = job.spec.output is not None and job.spec.output.publish is Publish.BEST
    return Best(root / job.folder if root is not None else None, wanted, world.first)


def _require_even_batches(job: Job, place: Place) -> None:
    recipe = job.recipe
    models = max(1, place.size // recipe.together)
    parts = models * recipe.gradient_accumulation_steps
    if recipe.global_batch_size % parts:
        who = f"{place.size} processes" if recipe.together == 1 else f"{models} groups of {recipe.together} processes"
        raise BadInput(
            f"recipe.globalBatchSize {recipe.global_batch_size} does not divide by {parts} "
            f"({who} x {recipe.gradient_accumulation_steps} accumulation steps)"
        )


def architecture_of(job: Job, dataset: DataSet | TextSet) -> Architecture:
    """Architecture of the recipe's model, fitted to the data. BadInput where they do not go together."""
    if isinstance(dataset, SupervisedSet):
        base = causal_lm.base_of(job.recipe)
        if base.language is not None and dataset.length > base.language.context_length:
            raise BadInput(
                f"dataset.maxLength {dataset.length} is more than the model's context of {base.language.context_length}"
            )
        return Architecture(name=causal_lm.NAME, arguments=causal_lm.arguments(base, job.recipe))
    known: models.Images | models.Text
    if isinstance(dataset, ArraySet):
        known = _rows(dataset, job.recipe)
    elif isinstance(dataset, TextSet):
        tokenizer = dataset.tokenizer
        known = models.Text(dataset.length, tokenizer.vocabulary, tokenizer.end, len(dataset.labels))
    else:
        shape = dataset.preprocessing
        kind = models.Boxes if isinstance(dataset, BoxSet) else models.Images
        kind = models.Masks if dataset.task is TrainingTask.SEGMENTATION else kind
        known = kind(shape.channels, shape.height, shape.width, len(dataset.labels))
    name, arguments = models.fit(job.recipe.model, known)
    if dataset.task is TrainingTask.REGRESSION:
        arguments |= spread_arguments(spread_of(dataset.training, str(job.recipe.dataset.uri)))
    return Architecture(name=name, arguments=arguments)


def _rows(dataset: ArraySet, recipe: Recipe) -> models.Images:
    """Properties of float samples; rows of numbers count as channels. BadInput for a model that takes pictures."""
    shape = dataset.shape
    if len(shape) == PICTURE_AXES:
        return models.Images(shape[0], shape[1], shape[2], len(dataset.labels))
    if recipe.model.callable is None:
        raise BadInput(
            f"the samples are rows of the shape {list(shape)}, and model {recipe.model.name} takes pictures: bring a "
            "model of your own (model.name: custom)"
        )
    return models.Images(math.prod(shape), 1, 1, len(dataset.labels))


def _checkpoints(job: Job, world: World, dataset: DataSet | TextSet, start: InitialModel) -> "Checkpoints | None":
    if job.spec.checkpoint is None:
        return None
    from workloads.train.checkpoints.checkpoint import Checkpoints  # takes a second to import

    root = storage.local_path(job.spec.checkpoint.uri)
    if root is None:
        raise BadInput(
            f"{job.spec.checkpoint.uri}: checkpoints need a file system, pvc:// or file://; object stores cannot rename"
        )
    made_for = {
        "model": start.architecture.wire(),
        "dataset": dataset.reference.digest,
        "trainingSamples": len(dataset.training),
        "globalBatchSize": job.recipe.global_batch_size,
        "seed": job.recipe.seed,
        "optimizer": job.recipe.optimizer.name.value,
    }
    if job.recipe.ema is not None:
        made_for["average"] = "of the weights"
    if start.kept:
        made_for["zeros"] = masks.digest(start.kept)
    choice = job.spec.checkpoint
    return Checkpoints(root / job.folder, choice.keep_last, world, made_for, choice.keep_best)
