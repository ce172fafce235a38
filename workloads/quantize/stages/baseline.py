"""Stage baseline: what the float model is worth in the runtime.

And what is doubtful about the data, before anything is built on it.
"""

from typing import Any

import numpy as np

from slipway.api.quantization.status import Candidate
from workloads import storage
from workloads.errors import BadInput
from workloads.models.from_artifact import load_model
from workloads.onnx import external_data, file
from workloads.quantize.context import Context
from workloads.quantize.evaluation.answers import Answers
from workloads.quantize.evaluation.judged import remarks
from workloads.quantize.ladder import metric
from workloads.quantize.ladder.candidates import FLOAT, model_path

FEW_CALIBRATION, FEW_EVALUATION = 32, 100


def run(context: Context) -> str:
    """Judge the float model on the evaluation samples and keep its record. Returns a sentence for people."""
    batches = context.reporter.track(context.evaluation_batches(), "baseline")
    predictions = metric.predict(context, context.float_model, batches)
    accuracy, words = metric.worth(context, predictions)
    predictions.save(context.work.path(f"answers/{FLOAT}.npz"))
    path = model_path(context, FLOAT)
    known = {"accuracy": accuracy, "size_bytes": file.size_of(path), **_weights(context)}
    candidate = Candidate(name=FLOAT, message=words, **known)
    record = {"candidate": candidate.wire(), "samples": len(predictions), "digest": storage.sha256_of(path)}
    record |= {"data": {data.name: storage.sha256_of(data) for data in external_data.data_of(path)}}
    _require_sight(context, predictions)
    warnings = [*_warnings(context, predictions, accuracy), *remarks(context.judged, _outputs(context))]
    for warning in warnings:
        context.reporter.say(f"warning: {warning}")
    context.work.write(f"candidates/{FLOAT}", {**record, "warnings": warnings})
    return f"float model: {words}"


def _outputs(context: Context) -> list[str]:
    return [value.name for value in context.float_model.graph.output]


def _require_sight(context: Context, predictions: "metric.Predictions") -> None:
    """BadInput for data on which no candidate could look worse than the float model."""
    if metric.float_decisions(predictions) == 1 and len(predictions) > 1:
        raise BadInput(
            "the float model gives all evaluation samples the same answer: on such data a model that always says so "
            "is as good; give samples of several kinds, or set evaluation.task if its answers are no such decisions"
        )
    labels = predictions.labels if isinstance(predictions, Answers) else None
    if labels is not None and len(labels) > 1 and len(np.unique(labels)) == 1:
        raise BadInput("all evaluation samples have the same label: a model that always says so is as good")


def _weights(context: Context) -> dict[str, Any]:
    """Parameters, zeros and FLOPs of the model that compression is to make smaller; empty without such steps."""
    if context.job.spec.compression is None or not context.source.trainable:
        return {}
    from workloads.quantize.stages.compression_step import size_of  # imports torch

    return size_of(*load_model(context.source.uri, context.source.digest))


def _warnings(context: Context, predictions: Any, accuracy: float) -> list[str]:
    warnings, count = [], len(predictions)
    if count < FEW_EVALUATION:
        warnings.append(f"only {count} evaluation samples: the accuracy gate is a coarse one")
    labels = predictions.labels if isinstance(predictions, Answers) else None
    if labels is not None and accuracy <= 1 / max(2, len(np.unique(labels))):
        warnings.append("the float model is no better than guessing: its labels or its preprocessing may be wrong")
    if context.job.spec.calibration is not None:
        samples = min(context.job.spec.calibration.samples, len(context.calibration))
        if samples < FEW_CALIBRATION:
            warnings.append(f"only {samples} calibration samples: ranges may be too narrow")
        if context.calibration.digest == context.evaluation.digest:
            warnings.append("calibration and evaluation data are the same: the accuracy of the candidates is flattered")
    return warnings
