"""Artifact that a service serves: that of a URI, or of a job, pinned when it has succeeded. Pure."""

from collections.abc import Mapping
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.inferenceservice import RolloutOn
from slipway.inferenceservice.service import InferenceService
from slipway.reconcile.source import Pinned, Resolution, artifact_of, pinned_before


def source_of(service: InferenceService) -> tuple[str, str] | None:
    """Kind and name of the job whose artifact is served; None for a URI."""
    source = service.spec.predictor.model.from_
    if source is None:
        return None
    if source.training_job is not None:
        return "TrainingJob", source.training_job
    if source.search_job is not None:
        return "SearchJob", source.search_job
    return "QuantizationJob", source.quantization_job or ""


def resolve(service: InferenceService, status: Mapping[str, Any], job: Mapping[str, Any] | None) -> Resolution:
    """Find the artifact to serve. `job` is the source as the cache has it, or None when it is not there."""
    model, source = service.spec.predictor.model, source_of(service)
    if source is None:
        pinned = Pinned(model.uri or "", model.digest or "")
        return Resolution(pinned, Reason.SOURCE_READY, f"serving {pinned.uri}")
    kind, name = source
    held = pinned_before(status.get("model"), f"{kind}/{name}")
    if held is not None and service.spec.rollout_on is RolloutOn.SPEC_CHANGE:
        return Resolution(held, Reason.SOURCE_READY, f"{kind} {name}, pinned at {held.digest}")
    found = artifact_of(kind, name, job)
    if found.pinned is None and held is not None:
        return Resolution(held, Reason.SOURCE_READY, f"{kind} {name}, still {held.digest}: {found.message}")
    return found


def job_named(service: Mapping[str, Any], kind: str) -> str | None:
    """The job of this kind that the service names, read from an object that may not be valid."""
    source: Any = service.get("spec")
    for field in ("predictor", "model", "from", f"{kind[0].lower()}{kind[1:]}"):
        source = source.get(field) if isinstance(source, dict) else None
    return source if isinstance(source, str) else None
