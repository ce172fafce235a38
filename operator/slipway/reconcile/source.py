"""The artifact that a chain's next link takes: waits for the job that makes it, and pins its digest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.api.common.types import Reason
from slipway.runtime import conditions


@dataclass(frozen=True)
class Pinned:
    """One artifact. `digest` is empty for a URI that nobody pinned; `source` is the job it is from, as Kind/name."""

    uri: str
    digest: str
    source: str = ""
    # status.artifact.language of that job.
    language: Mapping[str, Any] | None = field(default=None, compare=False)

    def wire(self) -> dict[str, Any]:
        """JSON for a status, without empty fields."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class Resolution:
    """The artifact, or why there is none yet. `final` means that waiting does not help."""

    pinned: Pinned | None
    reason: str
    message: str
    final: bool = False


def pinned_before(record: Mapping[str, Any] | None, source: str) -> Pinned | None:
    """Artifact that a status says was pinned, if it was taken from that very source."""
    if not record or record.get("source") != source or not record.get("uri"):
        return None
    return Pinned(record["uri"], record.get("digest") or "", source, record.get("language"))


def artifact_of(kind: str, name: str, job: Mapping[str, Any] | None) -> Resolution:
    """Resolve the artifact of a source. `job` is the source as the cache has it, or None when it is not there."""
    if job is None:
        message = f"{kind} {name} is not there: create it, or correct the name"
        return Resolution(None, Reason.WAITING_FOR_SOURCE, message)
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
    pinned = Pinned(artifact["uri"], artifact["digest"], f"{kind}/{name}", artifact.get("language"))
    return Resolution(pinned, Reason.SOURCE_READY, f"{kind} {name} succeeded with {artifact['digest']}")
