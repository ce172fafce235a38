"""Measures of tasks: scores of answers from 0 to 1, held against a label or against the float model's answer.

One function per task: `score(given, wanted)` of outputs [n, ...] against labels or outputs [n, ...], giving [n]. A
sample's score of 1 is a right answer; so the mean is an accuracy, and its drop is judged by one gate for all tasks.
`decide` gives what a user acts on, for the check that a model does not give everybody the same answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.evaluation import EvaluationTask
from workloads.errors import BadInput
from workloads.quantize.evaluation import custom, sequences

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

NEIGHBOURS = 5
CLOSE_DB = 20.0  # a sample whose outputs are a tenth off, or nearer, is as good as equal
OF_THE_SPREAD = 0.5  # a regression that is off by so much of the targets' standard deviation is plainly wrong


@dataclass(frozen=True)
class Measure:
    """Measure of one task's answers. `whole`: a sample's score depends on the other samples, so all are needed."""

    score: "Callable[[Array, Array], Array]"
    decide: "Callable[[Array], Array] | None"
    words: str
    whole: bool = False


def measure_of(task: EvaluationTask, threshold: float, blank: int = 0, function: str = "") -> Measure:
    """The measure of a task; `threshold` parts yes from no for `binary` and `multi-label`.

    `blank`: the class of a sequence that is no symbol; `function`: the user's own, of task `custom`.
    """

    def yes(outputs: "Array") -> "Array":
        return np.asarray(_flat(outputs) > threshold)

    measures = {
        EvaluationTask.CLASSIFICATION: Measure(_equal_classes, _classes, "share of equal classes"),
        EvaluationTask.BINARY: Measure(
            lambda given, wanted: _equal_decisions(yes(given), _truth(wanted, yes)),
            yes,
            f"share of equal decisions at the threshold {threshold:g}",
        ),
        EvaluationTask.MULTI_LABEL: Measure(
            lambda given, wanted: _f1(yes(given), _truth(wanted, yes)),
            yes,
            f"F1 per sample at the threshold {threshold:g}",
        ),
        EvaluationTask.REGRESSION: Measure(_near, None, "1 - error / (half the targets' spread)", whole=True),
        EvaluationTask.EMBEDDING: Measure(
            _retrieval, None, f"share of the {NEIGHBOURS} nearest neighbours that are the same", whole=True
        ),
        EvaluationTask.TAGGING: Measure(_equal_positions, _positions, "share of positions with the same class"),
        EvaluationTask.SEGMENTATION: Measure(_overlap, _masks, "mean overlap of the classes' areas"),
        EvaluationTask.IMAGE: Measure(_similar, None, "structural similarity (SSIM)"),
        EvaluationTask.SEQUENCE: Measure(
            lambda given, wanted: sequences.score(given, wanted, blank),
            lambda outputs: sequences.padded(outputs, blank),
            "1 - edit distance / length",
        ),
        EvaluationTask.CUSTOM: Measure(custom.score_by(function), None, f"{function}"),
        EvaluationTask.CLOSENESS: Measure(_close, None, f"outputs within {CLOSE_DB:g} dB of the float model's"),
    }
    return measures[task]


def _flat(values: "Array") -> "Array":
    """Values [n, k], one row per sample."""
    return values.reshape(len(values), -1)


def _truth(wanted: "Array", yes: "Callable[[Array], Array]") -> "Array":
    """Decisions [n, k]: labels, whole numbers or booleans, are yes above 0; another model's outputs go by `yes`."""
    return yes(wanted) if wanted.dtype.kind == "f" else _flat(wanted) > 0


def _classes(outputs: "Array") -> "Array":
    if outputs.ndim < 2 or _flat(outputs).shape[1] < 2:
        raise BadInput(
            f"the model's output has shape {outputs.shape}: classification needs a score per class; set evaluation.task"
        )
    return np.asarray(_flat(outputs).argmax(1))


def _equal_classes(given: "Array", wanted: "Array") -> "Array":
    truth = wanted if wanted.ndim == 1 else _classes(wanted)
    return np.asarray(_classes(given) == truth, np.float64)


def _equal_decisions(given: "Array", truth: "Array") -> "Array":
    if given.shape != truth.shape:
        raise BadInput(f"labels of shape {truth.shape} for outputs of {given.shape}")
    return np.asarray((given == truth).mean(1), np.float64)


def _f1(given: "Array", truth: "Array") -> "Array":
    """F1 of each sample: 2 |both| / (|given| + |truth|); 1 where neither says yes."""
    if given.shape != truth.shape:
        raise BadInput(f"labels of shape {truth.shape} for outputs of {given.shape}")
    said = given.sum(1) + truth.sum(1)
    return np.where(said > 0, 2 * (given & truth).sum(1) / np.maximum(said, 1), 1.0)


def _near(given: "Array", wanted: "Array") -> "Array":
    """Mean absolute error in halves of the targets' standard deviation, from 1 (none) to 0."""
    first, second = _flat(given).astype(np.float64), _flat(wanted).astype(np.float64)
    if first.shape != second.shape:
        raise BadInput(f"labels of shape {wanted.shape} for outputs of {given.shape}")
    spread = OF_THE_SPREAD * second.std(0)
    if not spread.any():
        raise BadInput("every sample has the same target: such data cannot tell a good model from a constant")
    return np.asarray(1 - np.minimum(1, np.abs(first - second)[:, spread > 0] / spread[spread > 0]).mean(1))


def _retrieval(given: "Array", wanted: "Array") -> "Array":
    """Recall at 5: neighbours by cosine among the other samples; with class numbers, the nearest one's class."""
    own = _cosines(given)
    if wanted.ndim == 1 and wanted.dtype.kind in "iu":
        return np.asarray(wanted[own.argmax(1)] == wanted, np.float64)
    count = min(NEIGHBOURS, len(given) - 1)
    if count < 1:
        raise BadInput("an embedding is judged by its neighbours: give at least two samples")
    first, second = (np.argsort(-table, axis=1, kind="stable")[:, :count] for table in (own, _cosines(wanted)))
    return np.array([len(set(a) & set(b)) / count for a, b in zip(first.tolist(), second.tolist(), strict=True)])


def _cosines(vectors: "Array") -> "Array":
    flat = _flat(vectors).astype(np.float64)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    table = unit @ unit.T
    np.fill_diagonal(table, -np.inf)
    return np.asarray(table)


def _positions(outputs: "Array") -> "Array":
    if outputs.dtype.kind in "iub":
        return _flat(outputs).astype(np.int64)  # the graph has chosen the classes
    if outputs.ndim < 3:
        raise BadInput(f"the model's output has shape {outputs.shape}: tagging needs [n, positions, classes]")
    return np.asarray(outputs.argmax(-1)).reshape(len(outputs), -1)


def _equal_positions(given: "Array", wanted: "Array") -> "Array":
    truth = _flat(wanted) if wanted.dtype.kind in "iu" else _positions(wanted)
    found = _positions(given)
    if found.shape != truth.shape:
        raise BadInput(f"labels of shape {wanted.shape} for outputs of {given.shape}")
    counted = truth >= 0  # -100 and the like: padding
    return np.asarray(((found == truth) & counted).sum(1) / np.maximum(counted.sum(1), 1), np.float64)


def _masks(outputs: "Array") -> "Array":
    """Masks [n, pixels]: classes along axis 1 when there is more than one channel, else by sign or half."""
    if outputs.dtype.kind in "iub" or outputs.ndim < 4:
        return _flat(outputs).astype(np.int64)
    if outputs.shape[1] > 1:
        return _flat(np.asarray(outputs.argmax(1)))
    return _flat(outputs > (0.5 if outputs.min() >= 0 and outputs.max() <= 1 else 0)).astype(np.int64)


def _overlap(given: "Array", wanted: "Array") -> "Array":
    """Mean intersection over union of the classes that either mask has (Jaccard 1912)."""
    found, truth = _masks(given), _masks(wanted)
    if found.shape != truth.shape:
        raise BadInput(f"labels of shape {wanted.shape} for outputs of {given.shape}")
    scores = []
    for mask, true in zip(found, truth, strict=True):
        one, other = mask[true >= 0], true[true >= 0]  # below it are pixels that belong to no class
        kinds = np.union1d(one, other)
        shares = [((one == kind) & (other == kind)).sum() / ((one == kind) | (other == kind)).sum() for kind in kinds]
        scores.append(float(np.mean(shares or [1.0])))
    return np.array(scores)


def _similar(given: "Array", wanted: "Array") -> "Array":
    """SSIM over whole pictures (Wang et al. 2004, formula 13, one window), the wanted picture's range as L."""
    if given.shape != wanted.shape:
        raise BadInput(f"labels of shape {wanted.shape} for outputs of {given.shape}")
    x, y = _flat(given).astype(np.float64), _flat(wanted).astype(np.float64)
    reach = np.maximum(y.max(1) - y.min(1), 1e-9)
    c1, c2 = (0.01 * reach) ** 2, (0.03 * reach) ** 2
    mx, my = x.mean(1), y.mean(1)
    covariance = (x * y).mean(1) - mx * my
    likeness = (2 * mx * my + c1) * (2 * covariance + c2)
    return np.asarray(np.clip(likeness / ((mx**2 + my**2 + c1) * (x.var(1) + y.var(1) + c2)), 0, 1))


def _close(given: "Array", wanted: "Array") -> "Array":
    """Closeness of each sample from 0 (noise as strong as the signal) to 1 (CLOSE_DB or better), by its decibels."""
    if given.shape != wanted.shape:
        return np.zeros(len(given))
    x, y = _flat(given).astype(np.float64), _flat(wanted).astype(np.float64)
    noise, signal = ((x - y) ** 2).sum(1), (y**2).sum(1)
    decibels = 10 * np.log10(np.maximum(signal, 1e-30) / np.maximum(noise, 1e-30))
    return np.asarray(np.where(noise == 0, 1.0, np.clip(decibels / CLOSE_DB, 0, 1)))
