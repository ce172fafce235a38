"""What is a QuantizationJob's own in its status: source, stage, candidates, headline, report. Pure."""

from pydantic import ValidationError

from slipway.api.common import Reason
from slipway.api.quantizationstatus import Outcome, Stage, StageResult
from slipway.job import gangstatus
from slipway.job.source import Pinned
from slipway.job.status import Draft

SOFT_FIELDS = gangstatus.SOFT_FIELDS
# Stage results that the status keeps as they are.
_CARRIED = ("warnings", "comparison", "selected", "headline", "outcome", "artifact", "report")
# Which condition a stage's success makes true.
_PROVES = {Stage.BASELINE: "Baselined", Stage.CALIBRATE: "Calibrated"}


def result_of(text: str) -> StageResult | None:
    """A pod's last words, if they are a stage's result."""
    try:
        return StageResult.model_validate_json(text or "{}")
    except ValidationError:
        return None


def pin(source: Pinned, draft: Draft) -> None:
    """From here on the job is about this very artifact."""
    draft.wire["source"] = source.wire()


def begin(stage: Stage, step: int, draft: Draft) -> None:
    """The stage that runs now, and its number."""
    draft.wire["stage"] = str(stage)
    draft.wire["step"] = step


def take_over(result: StageResult, draft: Draft) -> None:
    """Carry what a stage found out into the status."""
    found = result.wire()
    for field in _CARRIED:
        if found.get(field):
            draft.wire[field] = found[field]
    if proven := _PROVES.get(result.stage):
        draft.condition(proven, "True", Reason.STAGE_DONE, result.message or proven)
    if result.stage is Stage.SENSITIVITY or result.stage is Stage.QAT:
        draft.condition("Escalated", "True", Reason.ESCALATED, result.message or "the ladder goes on")
    if result.outcome is Outcome.QUANTIZED:
        draft.condition("AccuracyGatePassed", "True", Reason.GATE_PASSED, f"{result.selected} passes all gates")
    if result.outcome is Outcome.KEPT_FLOAT:
        message = "no candidate passes the gates: the float model was published as ONNX"
        draft.condition("AccuracyGatePassed", "False", Reason.GATE_FAILED, message)
    if result.artifact is not None:
        draft.condition("Published", "True", Reason.STAGE_DONE, f"published {result.artifact.uri}")
