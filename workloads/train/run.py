"""From a job to a published model: puts the parts together, resumes, trains, publishes. Called by the train command."""

import json
import os
import platform
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import torch

from slipway.api.artifact import Architecture, Artifact, Lineage
from workloads import artifact, data, models, storage
from workloads.data import DataSet
from workloads.data.text import TextSet
from workloads.errors import BadInput
from workloads.models import weights
from workloads.train import strategies, tasks
from workloads.train.environment import Place, cpu_limit, read_place, threads
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.meter import Meter
from workloads.train.optimisation import LearningRate, peak_rate
from workloads.train.pages import page
from workloads.train.report import Report
from workloads.train.stop import Stop
from workloads.train.strategies.base import Strategy
from workloads.train.tasks import Figures
from workloads.train.termination import write_message
from workloads.train.tracing import Tracing
from workloads.train.world import World

if TYPE_CHECKING:
    from workloads.train.checkpoint import Checkpoints

REPORT, CURVE, TRACE = "report.html", "curve.jsonl", "trace.json"


def run(job: Job, stop: Stop) -> None:
    """Train the job on this process's share. Raises BadInput, Corrupt, Terminated, Diverged, or what torch raises."""
    place = read_place(os.environ)
    torch.set_num_threads(threads(place, os.environ, cpu_limit()))
    torch.backends.cudnn.deterministic = True
    _require_even_batches(job, place)
    dataset = data.open_set(job.recipe.dataset)
    strategy = strategies.choose(job, place, os.environ)
    world = strategy.setup(place)
    stop.begin()  # from here on the processes depend on each other: they stop together, at a step's end
    architecture = _architecture(job, dataset)
    training = _training(job, strategy, world, dataset, architecture, stop)
    resumed = _resume(training)
    if world.first:
        training.report.say(_headline(training, architecture, place))
    started = time.monotonic()
    figures = training.run()
    trained = strategy.weights()
    if world.first:
        lineage = _lineage(job, training, resumed)
        description = _describe(lineage, architecture, training, figures)
        _publish(job, training, description, trained, figures, resumed)
        seconds = time.monotonic() - started
        training.report.say(f"done in {seconds:.1f} s: {figures.words}, {figures.metrics['samples']} samples")
    if training.checkpoints is not None:
        training.checkpoints.close()
    training.report.finish(training.step)
    strategy.teardown()


def _require_even_batches(job: Job, place: Place) -> None:
    recipe = job.recipe
    parts = place.size * recipe.gradient_accumulation_steps
    if recipe.global_batch_size % parts:
        raise BadInput(
            f"recipe.globalBatchSize {recipe.global_batch_size} does not divide by {parts} "
            f"({place.size} processes x {recipe.gradient_accumulation_steps} accumulation steps)"
        )


def _architecture(job: Job, dataset: DataSet | TextSet) -> Architecture:
    known: models.Images | models.Text
    if isinstance(dataset, TextSet):
        tokenizer = dataset.tokenizer
        known = models.Text(dataset.length, tokenizer.vocabulary, tokenizer.end, len(dataset.labels))
    else:
        shape = dataset.preprocessing
        known = models.Images(shape.channels, shape.height, shape.width, len(dataset.labels))
    name, arguments = models.fit(job.recipe.model, known)
    return Architecture(name=name, arguments=arguments)


def _training(
    job: Job, strategy: Strategy, world: World, dataset: DataSet | TextSet, architecture: Architecture, stop: Stop
) -> Training:
    recipe = job.recipe
    steps_per_epoch = len(dataset.training) // recipe.global_batch_size
    if steps_per_epoch == 0:
        raise BadInput(
            f"recipe.globalBatchSize {recipe.global_batch_size} is more than "
            f"the {len(dataset.training)} training samples"
        )
    total = steps_per_epoch * recipe.epochs
    highest = peak_rate(recipe.optimizer, recipe.global_batch_size)
    rate = LearningRate(highest, recipe.schedule, steps_per_epoch, total)
    torch.manual_seed(recipe.seed)
    model = models.build(architecture.name, architecture.arguments, own=True)
    if recipe.model.uri is not None:
        weights.load(model, recipe.model.uri)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    strategy.wrap(model)
    return Training(
        recipe=recipe,
        world=world,
        strategy=strategy,
        task=tasks.for_data(dataset, recipe, world.device),
        data=dataset,
        parameters=parameters,
        rate=rate,
        checkpoints=_checkpoints(job, world, dataset, architecture),
        save_every=job.spec.checkpoint.every_steps if job.spec.checkpoint else 0,
        keep_best=job.spec.checkpoint.keep_best if job.spec.checkpoint else 0,
        meter=Meter(total),
        tracing=Tracing(recipe.profile, first=world.first),
        report=Report(
            first=world.first,
            step=0,
            total_steps=total,
            steps_per_epoch=steps_per_epoch,
            batch=recipe.global_batch_size,
        ),
        stop=stop,
    )


def _checkpoints(
    job: Job, world: World, dataset: DataSet | TextSet, architecture: Architecture
) -> "Checkpoints | None":
    if job.spec.checkpoint is None:
        return None
    from workloads.train.checkpoint import Checkpoints  # takes a second to import

    root = storage.local_path(job.spec.checkpoint.uri)
    if root is None:
        raise BadInput(
            f"{job.spec.checkpoint.uri}: checkpoints need a file system, pvc:// or file://; object stores cannot rename"
        )
    made_for = {
        "model": architecture.wire(),
        "dataset": dataset.reference.digest,
        "trainingSamples": len(dataset.training),
        "globalBatchSize": job.recipe.global_batch_size,
        "seed": job.recipe.seed,
        "optimizer": job.recipe.optimizer.name.value,
    }
    choice = job.spec.checkpoint
    return Checkpoints(root / job.folder, choice.keep_last, world, made_for, choice.keep_best)


def _resume(training: Training) -> int | None:
    """Go on from the newest whole checkpoint. Returns its step, or None for a fresh start."""
    found = training.checkpoints.latest() if training.checkpoints is not None else None
    if found is None or training.checkpoints is None:
        return None
    checkpoints = training.checkpoints
    training.strategy.load(lambda state: checkpoints.read(found, state), training.rehearse)
    training.strategy.scale(found.state["scaler"])
    training.step = found.step
    training.history = list(found.state["history"])
    total, count = found.state.get("epochLoss", (0.0, 0.0))
    training.carried = (total, count)
    training.meter.curve = [(step, loss) for step, loss in found.state.get("curve", [])]
    training.report.resumed(found.step)
    return found.step


def _headline(training: Training, architecture: Architecture, place: Place) -> str:
    recipe, world = training.recipe, training.world
    return (
        f"training {architecture.name} ({training.parameters} parameters) on {training.data.reference.name} "
        f"({len(training.data.training)} samples): {recipe.epochs} epochs, {training.rate.total_steps} steps of "
        f"{recipe.global_batch_size} samples, processes: {world.size} ({training.strategy.name}), {world.device.type}, "
        f"{recipe.precision}, threads of each: {torch.get_num_threads()} (cores: {cpu_limit():g}, "
        f"processes here: {place.local_size})"
    )


def _lineage(job: Job, training: Training, resumed: int | None) -> Lineage:
    return Lineage(
        job=job.reference,
        dataset=training.data.reference,
        recipe=job.recipe.wire(),
        seed=job.recipe.seed,
        steps=training.step,
        resumed_from_step=resumed,
        processes=training.world.size,
        framework={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
        },
    )


def _describe(lineage: Lineage, architecture: Architecture, training: Training, figures: Figures) -> Artifact:
    said = training.task.describe()
    return Artifact(
        task=said.task,
        architecture=architecture,
        signature=said.signature,
        preprocessing=said.preprocessing,
        labels=said.labels,
        metrics=figures.metrics,
        parameters=training.parameters,
        lineage=lineage,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        files=[],
    )


def _pages(job: Job, training: Training, description: Artifact) -> dict[str, str]:
    """Files of the artifact for people: the report, the curve, and the profiler's trace."""
    facts = {
        "model": description.architecture.name,
        "parameters": description.parameters,
        "data": f"{training.data.reference.name}, {len(training.data.training)} samples",
        "strategy": f"{training.strategy.name}, processes: {training.world.size}",
        "precision": str(job.recipe.precision),
        "steps": training.step,
        **description.metrics,
    }
    curve = "".join(json.dumps({"step": step, "trainingLoss": loss}) + "\n" for step, loss in training.meter.curve)
    found = {REPORT: page(job.reference.name, facts, training.history, training.meter.curve), CURVE: curve}
    return found if training.tracing.trace is None else {**found, TRACE: training.tracing.trace}


def _publish(
    job: Job,
    training: Training,
    description: Artifact,
    trained: dict[str, torch.Tensor],
    figures: Figures,
    resumed: int | None,
) -> None:
    uri, digest = None, None
    if job.spec.output is None:
        training.report.say("the job has no output.uri: the model is not kept")
    else:
        uri = job.spec.output.uri
        more = {**training.task.describe().files, **_pages(job, training, description)}
        _, digest = artifact.write(uri, job.writer, description, trained, training.history, more)
        training.report.say(f"artifact {uri} {digest}")
    write_message(uri, digest, figures.metrics, training.step, resumed)
