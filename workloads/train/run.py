"""A job from its document to a published model: assembles, resumes, trains, publishes. Called by the train command."""

import os
import time
from functools import partial
from typing import Any

import torch

from workloads.data import changes
from workloads.errors import Terminated
from workloads.pod.cpus import cpu_limit
from workloads.pod.environment import Place, read_place
from workloads.pod.signals import StopSignal
from workloads.train.evaluation import evaluate
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.results.compression_gate import require_kept
from workloads.train.results.publish import Outcome, publish
from workloads.train.results.rehearsal import prove, rehearse
from workloads.train.results.tracked import begin
from workloads.train.setup import assemble
from workloads.train.tasks import Figures
from workloads.train.tasks.supervised import Supervised

SHOWN = 5  # skipped samples named in the log
PATIENCE, BRIEF = 20.0, 3.0  # seconds that trackers may take at the end of a whole run, and of one that ends early


def run(job: Job, stop: StopSignal) -> None:
    """Train the job on this process's share. Raises BadInput, Corrupt, Terminated, Diverged, or what torch raises."""
    place = read_place(os.environ)
    training = assemble(job, place, stop)
    resumed = _resume(training)
    training.report.say(_headline(training, place))
    for line in (*training.data.taken, changes(training.data.augmentation)):
        training.report.say(f"data: {line}")
    if resumed is None and job.recipe.rehearsal:
        rehearse(job, training)
        training.proof = partial(prove, training)
    training.tracking = begin(job, training, resumed)
    try:
        _complete(job, training, resumed)
    except BaseException as error:
        stopped = isinstance(error, (Terminated, KeyboardInterrupt, SystemExit))
        training.tracking.end("KILLED" if stopped else "FAILED", {}, BRIEF)
        raise


def _complete(job: Job, training: Training, resumed: int | None) -> None:
    """Train to the end and publish."""
    started = time.monotonic()
    if isinstance(training.task, Supervised) and training.step == 0:
        _judge_base(training)
    figures = training.run()
    trained, figures, step = _published(training, figures)
    skipped = _skipped(training)
    training.world.decide(partial(require_kept, job.recipe, training.whole, figures.metrics))
    if training.world.first:
        made = publish(job, training, Outcome(trained, figures, step, resumed, skipped))
        training.tracking.end("FINISHED", made, PATIENCE)
        training.report.untracked(training.tracking.lost)
        seconds = time.monotonic() - started
        training.report.say(f"done in {seconds:.1f} s: {figures.words}, {figures.metrics['samples']} samples")
    if training.checkpoints is not None:
        training.checkpoints.close()
    training.report.finish(training.step)
    training.strategy.teardown()


def _judge_base(training: Training) -> None:
    """The held-out figures before the first step, as row 0 of the history: what fine-tuning is compared with."""
    found = evaluate(
        training.world, training.strategy, training.task, training.data.held_out, training.evaluation_batch
    )
    row = {"epoch": 0, "step": 0, "trainingLoss": None, "learningRate": training.rate.at(0)}
    training.history = [{**row, **found.metrics}]
    training.report.say(f"before the first step: {found.words}")


def _resume(training: Training) -> int | None:
    """Go on from the newest whole checkpoint. Returns its step, or None for a fresh start."""
    recipe = training.recipe.wire()
    training.recipes = [{"fromStep": 0, "recipe": recipe}]
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
    training.best.resume(found.state.get("best"))
    training.patience.resume(found.state.get("stopping"))
    training.meter.curve = [(step, loss) for step, loss in found.state.get("curve", [])]
    before = list(found.state.get("recipes") or training.recipes)
    changed = differences(before[-1]["recipe"], recipe)
    training.recipes = [*before, {"fromStep": found.step, "recipe": recipe}] if changed else before
    training.report.resumed(found.step)
    if changed:
        training.report.say(f"the recipe was changed since: {', '.join(changed)}")
    return found.step


def differences(before: dict[str, Any], now: dict[str, Any], path: str = "") -> list[str]:
    """Fields of a recipe that are others now, as `optimizer.learningRate 0.1 -> 0.01`."""
    found: list[str] = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{path}{name}.")
        elif old != new:
            found.append(f"{path}{name} {old} -> {new}")
    return found


def _published(training: Training, figures: Figures) -> tuple[dict[str, torch.Tensor], Figures, int]:
    """The weights of the artifact, with their figures and step: of the best evaluation, where that is asked for."""
    with training.strategy.averaged():
        # By all processes together; copies where the weights come back in their place.
        trained = {
            name: one.clone() if training.recipe.ema else one for name, one in training.strategy.weights().items()
        }
    best = training.best
    if not best.wanted or best.step in {-1, training.step} or best.figures is None or not training.world.first:
        return trained, figures, training.step
    kept = best.read()
    if kept is None:
        training.report.say(f"warning: the best weights, of step {best.step}, are gone: the last ones are published")
        return trained, figures, training.step
    training.report.say(f"published are the weights of step {best.step}, the best: {best.figures.words}")
    return kept, best.figures, best.step


def _headline(training: Training, place: Place) -> str:
    recipe, world = training.recipe, training.world
    return (
        f"training {training.architecture.name} ({training.parameters} parameters) on {training.data.reference.name} "
        f"({len(training.data.training)} samples): {recipe.epochs} epochs, {training.rate.total_steps} steps of "
        f"{recipe.global_batch_size} samples, processes: {world.size} ({training.strategy.name}), {world.device.type}, "
        f"{recipe.precision}, threads of each: {torch.get_num_threads()} (cores: {cpu_limit():g}, "
        f"processes here: {place.local_size})"
    )


def _skipped(training: Training) -> list[str]:
    """Samples that no process could decode; said once, by the first."""
    bad = getattr(training.data, "bad", None)
    found = sorted(training.world.union(bad.names() if bad is not None else set()))
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        training.report.say(f"warning: {len(found)} samples were skipped: {', '.join(found[:SHOWN])}{more}")
    return found
