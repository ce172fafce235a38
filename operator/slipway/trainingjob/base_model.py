"""The model that a TrainingJob tunes further where another one makes it: waited for, and pinned once. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.common.language import ArtifactKind
from slipway.api.common.types import Reason
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.gang.state import Hold
from slipway.reconcile.source import Pinned, Resolution, artifact_of, pinned_before
from slipway.reconcile.status import StatusDraft

KIND = "TrainingJob"
MOST_WORDS = 4096  # of a condition


@dataclass(frozen=True)
class Based:
    """The spec with the model's own URI and digest; or why its gang is held, or will never be."""

    spec: TrainingJobSpec
    hold: Hold | None = None
    failed: Resolution | None = None
    pin: Mapping[str, Any] | None = None


def source_name(job: Mapping[str, Any]) -> str | None:
    """The TrainingJob whose model is tuned further, read from an object that may not be valid."""
    source: Any = job.get("spec")
    for field in ("recipe", "model", "from", "trainingJob"):
        source = source.get(field) if isinstance(source, dict) else None
    return source if isinstance(source, str) else None


def settle(spec: TrainingJobSpec, name: str, draft: StatusDraft, job: Mapping[str, Any] | None) -> Based:
    """Look the source up. `pin` is to be persisted first; `job` is the source as the cache has it, or None."""
    model = spec.recipe.model if spec.recipe is not None else None
    if model is None or model.from_ is None:
        return Based(spec)
    wanted, known = model.from_.training_job, draft.fields.get("model")
    held = pinned_before(known, f"{KIND}/{wanted}")
    if held is None and draft.run.finished:
        return Based(spec)
    found = Resolution(held, Reason.SOURCE_READY, "") if held is not None else _resolved(wanted, name, known, job)
    if found.pinned is None:
        words = Hold(0, 0, found.message[:MOST_WORDS], reason=Reason.WAITING_FOR_SOURCE)
        return Based(spec, failed=found) if found.final else Based(spec, hold=words, pin=_awaited(wanted, known, job))
    if spec.output is not None and spec.output.uri == found.pinned.uri:
        message = f"spec.output.uri: the model of {found.pinned.source} lies there, and would be replaced"
        return Based(spec, failed=Resolution(None, Reason.INVALID_SPEC, message, final=True))
    return Based(_with(spec, found.pinned), pin=None if held is not None else found.pinned.wire())


def _resolved(wanted: str, name: str, known: Any, job: Mapping[str, Any] | None) -> Resolution:
    if wanted == name:
        message = "recipe.model.from names this very job, which would wait for itself: name another one"
        return Resolution(None, Reason.INVALID_SPEC, message, final=True)
    awaited = (known or {}).get("uid")
    if awaited and (job is None or job["metadata"]["uid"] != awaited):
        message = f"{KIND} {wanted} was deleted before it succeeded"
        return Resolution(None, Reason.SOURCE_FAILED, message, final=True)
    found = artifact_of(KIND, wanted, job)
    made = (found.pinned.language or {}).get("kind") if found.pinned is not None else None
    if made == ArtifactKind.LORA_ADAPTER:
        message = f"{KIND} {wanted} made an adapter, which is no model: set its output.merge to merged or both"
        return Resolution(None, Reason.SOURCE_FAILED, message, final=True)
    return found


def _awaited(wanted: str, known: Any, job: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Mark of this very job, or None where it stands already: one that is deleted will never succeed."""
    if job is None:
        return None
    mark = {"source": f"{KIND}/{wanted}", "uid": job["metadata"]["uid"]}
    return None if known == mark else mark


def _with(spec: TrainingJobSpec, pinned: Pinned) -> TrainingJobSpec:
    assert spec.recipe is not None  # noqa: S101 (settle has looked)
    found = {"from_": None, "uri": pinned.uri, "digest": pinned.digest or None}
    recipe = spec.recipe.model_copy(update={"model": spec.recipe.model.model_copy(update=found)})
    return spec.model_copy(update={"recipe": recipe})
