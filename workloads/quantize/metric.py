"""What are float model and candidates compared by: classes that are right, or objects that are found?

Asked by the baseline, by whoever judges a candidate, and by the sensitivity analysis.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization import EvaluationMetric
from workloads.errors import BadInput
from workloads.quantize import evaluate, found
from workloads.quantize.confidence import Difference, Pairs, wilson
from workloads.quantize.context import Context
from workloads.quantize.evaluate import Answers
from workloads.quantize.found import Found

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Said = Answers | Found


def detects(context: Context) -> bool:
    """Whether the job is about a detector."""
    return context.job.spec.evaluation.metric is EvaluationMetric.PRECISION50


def ask(context: Context, model: "onnx.ModelProto | bytes", batches: Iterable[list[int]] | None = None) -> "Said":
    """What a model says to the evaluation samples."""
    chosen = context.evaluation_batches() if batches is None else batches
    return (found.find if detects(context) else evaluate.answers)(model, context.evaluation, chosen)


def kept(context: Context, name: str) -> "Said":
    """What a candidate, or the float model, has said."""
    path = context.work.path(f"answers/{name}.npz")
    return Found.load(path) if detects(context) else Answers.load(path)


def worth(context: Context, said: "Said") -> tuple[float, str]:
    """Of the float model: its figure, and that in words. BadInput for one that is worth nothing."""
    confidence = context.job.spec.gates.accuracy.confidence
    if isinstance(said, Found):
        figure, (low, high) = said.precision(), said.interval(confidence)
        words = f"mAP@0.5 {figure * 100:.2f} % ({low * 100:.2f} to {high * 100:.2f} %) on {len(said)} pictures"
    else:
        top1 = context.job.spec.evaluation.metric is EvaluationMetric.TOP1
        right, count = int(said.right(None if top1 else said).sum()), len(said)
        figure, (low, high) = right / count, wilson(right, count, confidence)
        words = f"{right} of {count} right ({low * 100:.2f} to {high * 100:.2f} %)"
        words = words if top1 else f"{count} samples, no labels"
    if figure == 0:
        raise BadInput("the float model gives no right answer at all: are these its labels, and its preprocessing?")
    return figure, words


def difference(context: Context, reference: "Said", said: "Said") -> Difference:
    """The float model against a candidate, in the job's metric, on the same samples."""
    confidence = context.job.spec.gates.accuracy.confidence
    if isinstance(reference, Found) and isinstance(said, Found):
        return said.against(reference, confidence)
    return Difference.of(pairs(context, reference, said), confidence)


def pairs(context: Context, reference: Any, said: Any) -> Pairs:
    """The float model's right answers against a candidate's."""
    truth = reference if context.job.spec.evaluation.metric is EvaluationMetric.AGREEMENT else None
    return Pairs.of(reference.right(truth), said.right(truth))


def agreement(reference: "Said", said: "Said") -> float | None:
    """Share of samples that get the same answer; boxes are never the same."""
    if isinstance(reference, Answers) and isinstance(said, Answers):
        return float(np.mean(said.classes == reference.classes))
    return None


def lost(context: Context, reference: "npt.NDArray[Any]", said: "npt.NDArray[Any]", truth: "npt.NDArray[Any]") -> float:
    """How much worse these outputs are than the float model's, with the labels or objects of their samples."""
    if detects(context):
        first, second = (found.judged([part], [truth], context.calibration.classes) for part in (reference, said))
        return first.precision() - second.precision()
    return float(np.mean(reference.argmax(1) == truth) - np.mean(said.argmax(1) == truth))
