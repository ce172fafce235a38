"""Stage baseline: what the float model is worth in the runtime.

And what is doubtful about the data, before anything is built on it.
"""

from typing import Any

import numpy as np

from slipway.api.quantization import EvaluationMetric
from slipway.api.quantizationstatus import Candidate
from workloads import artifact, storage
from workloads.errors import BadInput
from workloads.quantize import evaluate
from workloads.quantize.candidates import FLOAT, model_path
from workloads.quantize.confidence import wilson
from workloads.quantize.context import Context
from workloads.quantize.evaluate import Answers

FEW_CALIBRATION, FEW_EVALUATION = 32, 100


def run(context: Context) -> str:
    """Returns a sentence for people."""
    batches = context.voice.track(context.evaluation_batches(), "baseline")
    answers = evaluate.answers(context.float_model, context.evaluation, batches)
    top1 = context.job.spec.evaluation.metric is EvaluationMetric.TOP1
    right, count = int(answers.right(None if top1 else answers).sum()), len(answers.classes)
    if right == 0:
        raise BadInput("the float model gives no right answer at all: are these its labels, and its preprocessing?")
    answers.save(context.work.path(f"answers/{FLOAT}.npz"))
    low, high = wilson(right, count, context.job.spec.gates.accuracy.confidence)
    path = model_path(context, FLOAT)
    words = (
        f"{right} of {count} right ({low * 100:.2f} to {high * 100:.2f} %)" if top1 else f"{count} samples, no labels"
    )
    known = {"accuracy": right / count, "size_bytes": path.stat().st_size, **_weights(context)}
    candidate = Candidate(name=FLOAT, message=words, **known)
    record = {"candidate": candidate.wire(), "samples": count, "digest": storage.sha256_of(path)}
    warnings = _warnings(context, answers, right / count)
    for warning in warnings:
        context.voice.say(f"warning: {warning}")
    context.work.write(f"candidates/{FLOAT}", {**record, "warnings": warnings})
    return f"float model: {words}"


def _weights(context: Context) -> dict[str, Any]:
    """How large the model is that the steps of compression are to make smaller."""
    if context.job.spec.compression is None or not context.source.trainable:
        return {}
    from workloads.quantize.smaller import size_of  # imports torch

    return size_of(*artifact.load_model(context.source.uri, context.source.digest))


def _warnings(context: Context, answers: Answers, accuracy: float) -> list[str]:
    warnings, count = [], len(answers.classes)
    if count < FEW_EVALUATION:
        warnings.append(f"only {count} evaluation samples: the accuracy gate is a coarse one")
    if answers.labels is not None and accuracy <= 1 / max(2, len(np.unique(answers.labels))):
        warnings.append("the float model is no better than guessing: its labels or its preprocessing may be wrong")
    if context.job.spec.calibration is not None:
        samples = min(context.job.spec.calibration.samples, len(context.calibration))
        if samples < FEW_CALIBRATION:
            warnings.append(f"only {samples} calibration samples: ranges may be too narrow")
        if context.calibration.digest == context.evaluation.digest:
            warnings.append("calibration and evaluation data are the same: the accuracy of the candidates is flattered")
    return warnings
