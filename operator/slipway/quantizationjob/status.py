"""Status fields of a QuantizationJob alone: source, stage, candidates, headline, report. Pure."""

from pydantic import ValidationError

from slipway.api.quantization.status import Stage, StageResult
from slipway.gang import status
from slipway.reconcile.source import Pinned
from slipway.reconcile.status import StatusDraft

SOFT_FIELDS = status.SOFT_FIELDS
# Stage results that the status keeps as they are.
_CARRIED = ("warnings", "comparison", "selected", "headline", "outcome", "artifact", "report")


def result_of(text: str) -> StageResult | None:
    """A pod's last words, if they are a stage's result."""
    try:
        return StageResult.model_validate_json(text or "{}")
    except ValidationError:
        return None


def pin(source: Pinned, draft: StatusDraft) -> None:
    """Write the pinned source: from here on the job is about this very artifact."""
    draft.fields["source"] = source.wire()


def await_job(source: str, uid: str, draft: StatusDraft) -> None:
    """Write the job whose artifact is to be pinned, as Kind/name: it is there and has not ended."""
    draft.fields["source"] = {"source": source, "uid": uid}


def begin(stage: Stage, step: int, draft: StatusDraft) -> None:
    """Write the stage that runs now, and its number."""
    draft.fields["stage"] = str(stage)
    draft.fields["step"] = step


def carry(result: StageResult, draft: StatusDraft) -> None:
    """Take over what a stage found out."""
    found = result.wire()
    for field in _CARRIED:
        if found.get(field):
            draft.fields[field] = found[field]
