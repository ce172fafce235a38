"""Rehearsal of a run's end: everything that comes after hours is done once, small, before the first step.

Called by run.py for a run that does not go on from a checkpoint: a line in the log, seconds, nothing of the training
changed; and once more by the loop, after the first step, when there is a state to be saved. What fails here fails with
the words and the exit code that it would have had at the end.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from slipway.api.common.artifact import WEIGHTS_FILE
from workloads import artifact, models, tied_tensors
from workloads.data import Part, Samples
from workloads.errors import BadInput
from workloads.models.compressed import rebuilt
from workloads.train.evaluation import evaluate
from workloads.train.fine_tuning import publish as fine_tuned
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.results.publish import describe, lineage, tuned
from workloads.train.tasks import Figures
from workloads.train.tasks.supervised import Supervised

LARGEST = 1 << 30  # bytes of weights that are written and read back; of larger ones only whether they can be
STATE = 12  # bytes of a parameter and its two moments
SECONDS = 5.0  # for a look at samples
LOOKED_AT = 512


def rehearse(job: Job, training: Training) -> None:
    """Rehearse all parts. BadInput, Unavailable, or whatever evaluation and writing raise."""
    started = time.monotonic()
    count = _look(training.data.training) + _look(training.data.held_out)
    figures = _evaluate(training)
    weights = training.strategy.weights()  # by all processes together
    size = training.world.decide(lambda: _publish(job, training, figures, weights))
    training.report.say(
        f"rehearsal: {count} samples read, a batch evaluated, artifact of {size / 1e6:.1f} MB written and read back, "
        f"{time.monotonic() - started:.1f} s"
    )


def prove(training: Training) -> None:
    """Save the state after the first step and go on from what was saved: a state that could not be read again, or a
    disk without room for it, shows now. Of larger models the first checkpoint shows it.
    """
    checkpoints, size = training.checkpoints, STATE * training.parameters
    if checkpoints is None or size > LARGEST:
        return
    started = time.monotonic()
    training.save(checkpoints)
    found = checkpoints.latest() if checkpoints.proven() else None
    if found is None:
        return
    training.strategy.load(lambda state: checkpoints.read(found, state), training.rehearse)
    training.strategy.scale(found.state["scaler"])
    if not training.due:
        checkpoints.forget(found)
    training.report.say(f"rehearsal: a state saved and loaded, {time.monotonic() - started:.1f} s")


def _look(samples: Samples) -> int:
    """Read some samples all over the set, for a few seconds at most. Returns how many."""
    deadline = time.monotonic() + SECONDS
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).astype(np.int64)).tolist()
    for number, index in enumerate(chosen):
        if time.monotonic() > deadline:
            return number
        samples.batch([index])
    return len(chosen)


def _evaluate(training: Training) -> Figures:
    """The figures of the first held-out samples, a batch of each process."""
    count = min(len(training.data.held_out), training.evaluation_batch * training.world.shares)
    some = Part(training.data.held_out, np.arange(count, dtype=np.int64))
    return evaluate(training.world, training.strategy, training.task, some, training.evaluation_batch)


def _publish(job: Job, training: Training, figures: Figures, weights: dict[str, torch.Tensor]) -> int:
    """Write an artifact of the untrained model, read it back, and load it. Returns bytes of its weights."""
    plain = tied_tensors.written(weights)
    size = sum(tensor.numel() * tensor.element_size() for tensor in plain.values())
    description = describe(lineage(job, training, None, 0), training, figures)
    finite = {name: value for name, value in figures.metrics.items() if np.isfinite(value)}
    description = description.model_copy(update={"metrics": finite})
    with tempfile.TemporaryDirectory(prefix="slipway-rehearsal-") as folder:
        where = str(Path(folder) / "model")
        if isinstance(training.task, Supervised):
            model = tuned(job, training, weights, figures, description.lineage, {})
            merge = job.spec.output.merge if job.spec.output is not None else None
            fine_tuned.publish(model, where, job.writer, merge, proven=False)
            return size
        few = plain if size <= LARGEST else {}
        artifact.write(where, job.writer, description, few, [], training.task.describe().files)
        stored = artifact.read(where)
        if few:
            _load(training, load_file(stored.folder / WEIGHTS_FILE))
    return size


def _load(training: Training, found: dict[str, torch.Tensor]) -> None:
    known = training.architecture
    model = models.build(known.name, known.arguments, own=True)
    rebuilt(model, known.changes or [])
    try:
        model.load_state_dict(tied_tensors.completed(model, found))
    except RuntimeError as error:
        raise BadInput(
            f"{known.name} builds another model when it is called again, so nobody could load what is trained: "
            f"its parameters may depend on its arguments alone ({str(error).strip().splitlines()[-1].strip()})"
        ) from error
