"""Stage compress: the model is made smaller step by step, each judged like a candidate, before the ladder.

A step that fails the accuracy gate is undone, and a structured one that gains nothing on the target: the next one
begins with what was there before it. The ladder starts from what is left, which may be the float model; the record says
which steps stayed, and why not the others.
"""

from typing import Any

from slipway.api.quantization.status import Candidate, Gate
from workloads.errors import BadInput
from workloads.onnx import file
from workloads.quantize.algorithms import qdq
from workloads.quantize.context import COMPRESSED, SMALLER_MODEL, Context
from workloads.quantize.ladder.candidates import FLOAT, consider, details_of, model_path
from workloads.quantize.stages import compression_step, step_gain
from workloads.quantize.stages.compression_step import Step


def run(context: Context) -> str:
    """Take and judge all steps of compression. Returns a sentence for people.

    BadInput for a source that cannot be trained.
    """
    if not context.source.trainable or context.source.preprocessing is None:
        raise BadInput("compression needs an artifact with weights, for pictures: the source is ONNX, or takes others")
    base, last = (context.source.uri, context.source.digest), None
    rows: list[dict[str, Any]] = []
    for number, choice in enumerate(context.job.spec.compression or [], start=1):
        step = Step(number, choice, *base)
        candidate = _tried(context, step)
        before = FLOAT if last is None else last.name
        kept = _accurate(context, candidate) and step_gain.gains(context, step, before)
        rows.append({"candidate": step.name, "step": choice.wire(), "kept": kept})
        rows[-1]["words"] = compression_step.words_of(context, step)
        if kept:
            base, last = compression_step.artifact_of(context, step.name), candidate
    return _settled(context, rows, base[1], last)


def _tried(context: Context, step: Step) -> Candidate:
    candidate = consider(
        context,
        step.attempt,
        lambda: compression_step.build(context, step),
        lambda: compression_step.told_of(context, step),
    )
    assert candidate is not None  # noqa: S101 (something is always built)
    return candidate


def _accurate(context: Context, candidate: Candidate) -> bool:
    """Tell whether the accuracy gate holds; size and speed are for what is quantized."""
    failures: list[str] = details_of(context, candidate.name).get("failures", [])
    return candidate.accuracy is not None and not any(words.startswith(Gate.ACCURACY) for words in failures)


def _settled(context: Context, rows: list[dict[str, Any]], digest: str, last: Candidate | None) -> str:
    """Prepare the model that the ladder starts from, and keep the stage's record."""
    if last is not None:
        smallest = file.load(model_path(context, last.name))
        file.save(qdq.prepare(smallest), context.work.path(SMALLER_MODEL))
    words = "the ladder starts from the float model: no step passes the accuracy gate with a gain"
    if last is not None:
        stayed = ", ".join(row["step"]["method"] for row in rows if row["kept"])
        words = f"the ladder starts from the smaller model ({stayed}): {last.message}"
    made = {"selected": last.name, "digest": digest} if last is not None else {"selected": None, "digest": None}
    # Last: this record says that the stage is done, and which model is gone on with.
    context.work.write(COMPRESSED, {"rows": rows, **made, "words": words})
    context.renew()
    return words
