"""Stage compress: the model is made smaller, trained on, exported and judged like a candidate, before the ladder.

The ladder starts from it if it passes the accuracy gate, else from the float model; the record says which and why.
"""

import copy
from typing import TYPE_CHECKING, Any

import torch

from slipway.api.artifact import Artifact
from slipway.api.quantizationstatus import Candidate, Gate, Stage
from workloads import artifact, data
from workloads.compress import masks
from workloads.compress.apply import Compressed, compress
from workloads.errors import BadInput
from workloads.export import from_torch, onnx_file
from workloads.quantize import rewrite, runtime
from workloads.quantize.candidates import Attempt, consider, details_of
from workloads.quantize.context import COMPRESSED, SMALLER_ARTIFACT, SMALLER_MODEL, Context
from workloads.quantize.training import Phases, Training

if TYPE_CHECKING:
    import onnx

ATTEMPT = Attempt("compressed", Stage.COMPRESS)
STATE = "compress/state.safetensors"


def run(context: Context) -> str:
    """Returns a sentence for people. BadInput for steps that do not fit the model."""
    if not context.source.trainable or context.source.preprocessing is None:
        raise BadInput("compression needs an artifact with weights, for pictures: the source is ONNX, or takes others")
    candidate = consider(context, ATTEMPT, lambda: _built(context))
    assert candidate is not None  # noqa: S101 (something is always built)
    passes = _accurate(context, candidate)
    if passes:
        smaller = onnx_file.load(context.work.path(f"candidates/{ATTEMPT.name}.onnx"))
        onnx_file.save(rewrite.prepare(smaller), context.work.path(SMALLER_MODEL))
    words = f"the ladder starts from {'the smaller model' if passes else 'the float model'}: {candidate.message}"
    digest = artifact.read(context.work.path(SMALLER_ARTIFACT)).digest if passes else None
    steps = [step.wire() for step in context.job.spec.compression or []]
    # Last: this record says that the stage is done, and which model is gone on with.
    context.work.write(COMPRESSED, {"candidate": ATTEMPT.name, "digest": digest, "steps": steps, "words": words})
    context.renew()
    return words


def _accurate(context: Context, candidate: Candidate) -> bool:
    """Whether the accuracy gate holds; size and speed are for what is quantized."""
    failures: list[str] = details_of(context, ATTEMPT.name).get("failures", [])
    return candidate.accuracy is not None and not any(words.startswith(Gate.ACCURACY) for words in failures)


def _built(context: Context) -> "onnx.ModelProto":
    """Compressed, trained on, kept as an artifact, exported, compared with torch."""
    calibration = context.job.spec.calibration
    if calibration is None or calibration.dataset is None:
        raise BadInput("compression is followed by training: set calibration.dataset")
    torch.manual_seed(context.job.spec.qat.seed)
    model, described = artifact.load_model(context.source.uri, context.source.digest)
    teacher = copy.deepcopy(model)
    example = torch.zeros(1, *described.signature.inputs[0].shape[1:])  # type: ignore[arg-type]
    done = compress(model, context.job.spec.compression or [], example)
    for words in done.words:
        context.voice.say(words)
    masks.hold(model, done.kept)
    phases = Phases(STATE, "compress", lambda module: module.train(), lambda _: None)
    Training(context, model, teacher, data.load(calibration.dataset), phases).run()
    _keep(context, done, described)
    exported = from_torch.export(model.eval(), described.signature)
    from_torch.compare_on(model, runtime.session(exported), context.evaluation)
    return exported


def _keep(context: Context, done: Compressed, described: Artifact) -> None:
    """As an artifact, which QAT begins with."""
    changes = [*(described.architecture.changes or []), *done.changes]
    known: dict[str, Any] = {
        "architecture": described.architecture.model_copy(update={"changes": changes or None}),
        "parameters": sum(parameter.numel() for parameter in done.model.parameters()),
        "files": [],
    }
    uri = context.work.path(SMALLER_ARTIFACT).as_uri()
    artifact.write(uri, context.job.writer, described.model_copy(update=known), done.model.state_dict(), [])
