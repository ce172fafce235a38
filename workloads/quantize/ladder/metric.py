"""Metric by which float model and candidates are compared: right classes, objects found, or a task's own measure.

Asked by the baseline, by whoever judges a candidate, and by the sensitivity analysis.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.evaluation import EvaluationMetric, EvaluationTask
from workloads.errors import BadInput
from workloads.measure.confidence import Difference, Pairs, wilson
from workloads.quantize.context import Context
from workloads.quantize.evaluation import answers, detection_metrics
from workloads.quantize.evaluation.answers import Answers
from workloads.quantize.evaluation.detection_metrics import Detections
from workloads.quantize.evaluation.scores import Comparison, Scores

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Predictions = Answers | Detections | Scores


def detects(context: Context) -> bool:
    """Tell whether the job is about a detector."""
    return context.job.spec.evaluation.metric is EvaluationMetric.PRECISION50


def by_task(context: Context) -> bool:
    """Tell whether answers are scored by another task's measure than classes or boxes."""
    return not detects(context) and context.judged.task is not EvaluationTask.CLASSIFICATION


def predict(
    context: Context, model: "onnx.ModelProto | bytes", batches: Iterable[list[int]] | None = None
) -> "Predictions":
    """Run a model on the evaluation samples; returns its answers in the form that the metric compares."""
    chosen = context.evaluation_batches() if batches is None else batches
    if by_task(context):
        labelled = context.job.spec.evaluation.metric is EvaluationMetric.LABELS
        comparison = Comparison(
            context.judged.measure, context.judged.places, labelled=labelled, axes=context.output_axes
        )
        return comparison.run(context.float_model, model, context.evaluation, chosen)
    if detects(context):
        return detection_metrics.find(model, context.evaluation, chosen)
    place = context.judged.places[0]
    return answers.answers(model, context.evaluation, chosen, place, context.axis_of(place))


def stored(context: Context, name: str) -> "Predictions":
    """Answers that a candidate, or the float model, has given."""
    path = context.work.path(f"answers/{name}.npz")
    if by_task(context):
        return Scores.load(path)
    return Detections.load(path) if detects(context) else Answers.load(path)


def worth(context: Context, predictions: "Predictions") -> tuple[float, str]:
    """Worth of the float model: its figure, and that in words. BadInput for one that is worth nothing."""
    confidence = context.job.spec.gates.accuracy.confidence
    if isinstance(predictions, Detections):
        figure, (low, high) = predictions.precision(), predictions.interval(confidence)
        words = f"mAP@0.5 {figure * 100:.2f} % ({low * 100:.2f} to {high * 100:.2f} %) on {len(predictions)} pictures"
    elif isinstance(predictions, Scores):
        figure = float(predictions.own.mean())
        words = f"{context.judged.words}: {figure * 100:.2f} % on {len(predictions)} samples"
        if context.job.spec.evaluation.metric is EvaluationMetric.AGREEMENT:
            words = f"{len(predictions)} samples, no labels; judged by {context.judged.words}"
    else:
        top1 = context.job.spec.evaluation.metric is not EvaluationMetric.AGREEMENT
        right, count = int(predictions.right(None if top1 else predictions).sum()), len(predictions)
        figure, (low, high) = right / count, wilson(right, count, confidence)
        words = f"{right} of {count} right ({low * 100:.2f} to {high * 100:.2f} %)"
        words = words if top1 else f"{count} samples, no labels"
    if figure == 0:
        raise BadInput("the float model gives no right answer at all: are these its labels, and its preprocessing?")
    return figure, words


def difference(context: Context, reference: "Predictions", predictions: "Predictions") -> Difference:
    """The float model against a candidate, in the job's metric, on the same samples."""
    confidence = context.job.spec.gates.accuracy.confidence
    if isinstance(predictions, Scores):
        return predictions.difference(confidence)
    if isinstance(reference, Detections) and isinstance(predictions, Detections):
        return predictions.against(reference, confidence)
    return Difference.of(pairs(context, reference, predictions), confidence)


def pairs(context: Context, reference: Any, predictions: Any) -> Pairs:
    """The float model's right answers against a candidate's."""
    truth = reference if context.job.spec.evaluation.metric is EvaluationMetric.AGREEMENT else None
    return Pairs.of(reference.right(truth), predictions.right(truth))


def agreement(reference: "Predictions", predictions: "Predictions") -> float | None:
    """Share of samples that get the same answer; boxes are never the same."""
    if isinstance(reference, Answers) and isinstance(predictions, Answers):
        return float(np.mean(predictions.classes == reference.classes))
    if isinstance(predictions, Scores) and np.all(predictions.reference == 1):
        return float(predictions.own.mean())
    return None


def noise(reference: "Predictions", predictions: "Predictions") -> float | None:
    """Signal to noise of the outputs in dB, the worst output's; None when they are equal."""
    if isinstance(predictions, Scores):
        return predictions.sqnr_db
    assert not isinstance(reference, Scores)  # noqa: S101 (both are of one job)
    return answers.sqnr_db(reference.outputs, predictions.outputs)


def decisions(predictions: "Predictions") -> int:
    """Number of different answers; 0 where none is made."""
    if isinstance(predictions, Scores):
        return predictions.decisions
    return len(np.unique(predictions.classes)) if isinstance(predictions, Answers) else 0


def float_decisions(reference: "Predictions") -> int:
    """Number of different answers of the float model."""
    return reference.float_decisions if isinstance(reference, Scores) else decisions(reference)


def lost(
    context: Context, reference: "npt.NDArray[Any]", predictions: "npt.NDArray[Any]", truth: "npt.NDArray[Any]"
) -> float:
    """Drop of these outputs' figure below the float model's, by the labels or objects of their samples.

    In shares of right answers, or in precision of a detector. BadInput for another task's measure.
    """
    if by_task(context):
        raise BadInput("sensitivity.metric task is for classes and boxes; use sqnr")
    if detects(context):
        first, second = (
            detection_metrics.judged([part], [truth], context.calibration.classes) for part in (reference, predictions)
        )
        return first.precision() - second.precision()
    return float(np.mean(reference.argmax(1) == truth) - np.mean(predictions.argmax(1) == truth))
