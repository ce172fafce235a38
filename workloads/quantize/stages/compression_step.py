"""One step of compression: the model before it goes in, the smaller one, trained on, comes out as ONNX.

Called by the stage compress. What the model is worth untrained, the state of the training and the artifact that the
next step begins with are kept per step, so that a killed pod goes on at the step where it was.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slipway.api.common.artifact import Artifact, LayerChange
from slipway.api.quantization.status import Stage
from slipway.api.training.compression import CompressionStep, Method
from workloads import artifact, data
from workloads.compress import masks
from workloads.compress.apply import compress
from workloads.compress.size import figures
from workloads.errors import BadInput
from workloads.export import from_torch
from workloads.models.from_artifact import load_model
from workloads.onnx import session
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning.loop import Phases, Training
from workloads.quantize.ladder import metric
from workloads.quantize.ladder.candidates import FLOAT, Attempt, step_name

if TYPE_CHECKING:
    import onnx

FOLDER = "compress"  # in the work folder, until the job has published
ALPHA = 0.7  # of distillation: that of the trainer's recipes
TOLD = ("parameters", "zeros", "flops")  # of the figures, in the status


@dataclass(frozen=True)
class Step:
    """One step of the job: its number from 1, what is asked for, and the artifact that it begins with."""

    number: int
    choice: CompressionStep
    uri: str
    digest: str

    @property
    def name(self) -> str:
        """Name of the candidate that the step makes."""
        return step_name(self.number, self.choice)

    @property
    def attempt(self) -> Attempt:
        """Identity of the step as a candidate."""
        return Attempt(self.name, Stage.COMPRESS)


def build(context: Context, step: Step) -> "onnx.ModelProto":
    """Take the step, train, keep the result as an artifact, export, compare with torch. BadInput if it does not fit."""
    calibration = context.job.spec.calibration
    if calibration is None or calibration.dataset is None:
        raise BadInput("compression is followed by training: set calibration.dataset")
    model, described = load_model(step.uri, step.digest)
    teacher, _ = load_model(context.source.uri, context.source.digest)
    changes = _taken(context, step, model, described)
    masks.hold(model, masks.zeros(model))
    distilling = step.choice.method is Method.DISTILLATION
    share = (step.choice.alpha or ALPHA) if distilling else context.job.spec.qat.distillation
    phases = Phases(f"{FOLDER}/{step.name}.safetensors", step.name, lambda m: m.train(), lambda _: None, share)
    Training(context, model, teacher, data.load(calibration.dataset), phases).run()
    _keep(context, step, model, described, changes)
    return _exported(context, model, described)


def artifact_of(context: Context, name: str) -> tuple[str, str]:
    """URI and digest of a finished step's model."""
    folder = context.work.path(f"{FOLDER}/{name}")
    return folder.as_uri(), artifact.read(folder).digest


def told_of(context: Context, step: Step) -> dict[str, Any]:
    """The step's figures for its row, by the fields of Candidate."""
    record = context.work.require(f"{FOLDER}/{step.name}")
    return {name: record[name] for name in (*TOLD, "untrained")}


def words_of(context: Context, step: Step) -> str:
    """Sentence on what was taken away; empty when the step did not fit."""
    record = context.work.read(f"{FOLDER}/{step.name}")
    return "" if record is None else str(record["words"])


def size_of(model: nn.Module, described: Artifact) -> dict[str, int]:
    """Parameters, zeros and FLOPs of a model, by the fields of Candidate."""
    found = figures(model, _example(described))
    return {name: found[name] for name in TOLD}


def _taken(context: Context, step: Step, model: nn.Module, described: Artifact) -> list[LayerChange]:
    """Take the step in place, and judge it before anything is repaired; once, whatever happens afterwards."""
    changes, words = [], ["distillation: nothing is taken away, the float model's answers are learned"]
    if step.choice.method is not Method.DISTILLATION:
        done = compress(model, [step.choice], _example(described))
        changes, words = done.changes, done.words
    if context.work.read(f"{FOLDER}/{step.name}") is None:
        context.reporter.say(words[0])
        exported = _exported(context, copy.deepcopy(model), described)
        found = metric.difference(context, metric.stored(context, FLOAT), metric.predict(context, exported))
        record = {"words": words[0], "untrained": found.second, **size_of(model, described)}
        context.work.write(f"{FOLDER}/{step.name}", record)
    return changes


def _example(described: Artifact) -> torch.Tensor:
    """An input, as a batch of one."""
    return torch.zeros(1, *described.signature.inputs[0].shape[1:])  # type: ignore[arg-type]


def _exported(context: Context, model: nn.Module, described: Artifact) -> "onnx.ModelProto":
    exported = from_torch.export(model.eval(), described.signature)
    from_torch.compare_on(model, session.session(exported), context.evaluation)
    return exported


def _keep(context: Context, step: Step, model: nn.Module, described: Artifact, changes: list[LayerChange]) -> None:
    """Keep the model as an artifact, which the next step or QAT begins with."""
    made = [*(described.architecture.changes or []), *changes]
    known: dict[str, Any] = {
        "architecture": described.architecture.model_copy(update={"changes": made or None}),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "files": [],
    }
    uri = context.work.path(f"{FOLDER}/{step.name}").as_uri()
    artifact.write(uri, context.job.writer, described.model_copy(update=known), model.state_dict(), [])
