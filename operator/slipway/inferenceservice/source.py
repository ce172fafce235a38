"""Which artifact is served? Waits for the job named in the spec, and pins its digest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.common import Reason
from slipway.api.inferenceservice import RolloutOn
from slipway.inferenceservice.service import InferenceService, Pinned
from slipway.runtime import conditions


@dataclass(frozen=True)
class Resolution:
    """The artifact, or why there is none yet. `final` means that waiting does not help."""

    pinned: Pinned | None
    reason: str
    message: str
    final: bool = False


def source_of(service: InferenceService) -> tuple[str, str] | None:
    """Kind and name of the job whose artifact is served; None for a URI."""
    source = service.spec.predictor.model.from_
    if source is None:
        return None
    if source.training_job is not None:
        return "TrainingJob", source.training_job
    return "QuantizationJob", source.quantization_job or ""


def resolve(service: InferenceService, status: Mapping[str, Any], job: Mapping[str, Any] | None) -> Resolution:
    """`job` is the source as the cache has it, or None when it is not there."""
    model, source = service.spec.predictor.model, source_of(service)
    if source is None:
        pinned = Pinned(model.uri or "", model.digest or "")
        return Resolution(pinned, Reason.SOURCE_READY, f"serving {pinned.uri}")
    kind, name = source
    held = _held(status, f"{kind}/{name}")
    if held is not None and service.spec.rollout_on is RolloutOn.SPEC_CHANGE:
        return Resolution(held, Reason.SOURCE_READY, f"{kind} {name}, pinned at {held.digest}")
    found = _artifact(kind, name, job)
    if found.pinned is None and held is not None:
        return Resolution(held, Reason.SOURCE_READY, f"{kind} {name}, still {held.digest}: {found.message}")
    return found


def _held(status: Mapping[str, Any], source: str) -> Pinned | None:
    model = status.get("model") or {}
    if model.get("source") != source or not model.get("uri"):
        return None
    return Pinned(model["uri"], model.get("digest") or "", source)


def _artifact(kind: str, name: str, job: Mapping[str, Any] | None) -> Resolution:
    if job is None:
        return Resolution(
            None, Reason.WAITING_FOR_SOURCE, f"{kind} {name} is not there: create it, or correct the name"
        )
    status = job.get("status") or {}
    marks = status.get("conditions") or []
    if conditions.is_true(marks, "Failed"):
        why = (conditions.get(marks, "Failed") or {}).get("message") or "without a reason"
        return Resolution(None, Reason.SOURCE_FAILED, f"{kind} {name} failed: {why}", final=True)
    if not conditions.is_true(marks, "Succeeded"):
        return Resolution(None, Reason.WAITING_FOR_SOURCE, f"waiting for {kind} {name} to succeed")
    artifact = status.get("artifact") or {}
    if not artifact.get("uri") or not artifact.get("digest"):
        message = f"{kind} {name} succeeded without an artifact: give it spec.output"
        return Resolution(None, Reason.SOURCE_FAILED, message, final=True)
    pinned = Pinned(artifact["uri"], artifact["digest"], f"{kind}/{name}")
    return Resolution(pinned, Reason.SOURCE_READY, f"{kind} {name} succeeded with {artifact['digest']}")
