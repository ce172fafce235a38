"""An InferenceService's status in KServe's words and kstatus' conditions. Pure; called by plan.py."""

from collections.abc import Sequence
from typing import Any

from slipway.api.common import Reason
from slipway.api.inferenceservice import TransitionStatus
from slipway.inferenceservice import manifests
from slipway.inferenceservice.observed import Revision, Trouble
from slipway.inferenceservice.service import GRPC_PORT, InferenceService
from slipway.job.plan import Notice
from slipway.job.status import Draft
from slipway.runtime.conditions import format_time, get, shorten

# Fields that may lag behind by a few seconds.
SOFT_FIELDS = frozenset({"replicas", "readyReplicas"})


def transition(draft: Draft, status: TransitionStatus, failure: dict[str, Any] | None = None) -> None:
    """Where the rollout is, and what blocks it."""
    draft.wire["modelStatus"] = {"transitionStatus": str(status), **({"lastFailureInfo": failure} if failure else {})}


def addresses(service: InferenceService, draft: Draft) -> None:
    """Where clients find it."""
    host = f"{service.name}.{service.namespace}.svc.cluster.local"
    draft.wire["url"] = f"http://{host}"
    draft.wire["address"] = {"url": f"http://{host}", "grpc": f"{host}:{GRPC_PORT}"}


def count(service: InferenceService, revisions: Sequence[Revision], newest: str, draft: Draft) -> None:
    """Pods, for people and for the scale subresource."""
    ready = sum(revision.ready for revision in revisions)
    updated = sum(revision.ready for revision in revisions if revision.revision == newest)
    draft.wire["replicas"] = {"desired": service.spec.replicas, "ready": ready, "updated": updated}
    draft.wire["readyReplicas"] = ready
    draft.wire["selector"] = ",".join(f"{key}={value}" for key, value in manifests.selector(service).items())


def serving(service: InferenceService, current: Revision, draft: Draft) -> tuple[Notice, ...]:
    """The newest revision serves with all its replicas."""
    revisions = dict((draft.wire.get("components") or {}).get("predictor") or {})
    before = revisions.get("latestReadyRevision")
    if before and before != current.revision:
        revisions["previousRolledoutRevision"] = before
    revisions |= {"latestCreatedRevision": current.revision, "latestReadyRevision": current.revision}
    draft.wire["components"] = {"predictor": revisions}
    transition(draft, TransitionStatus.UP_TO_DATE)
    if service.spec.replicas == 0:
        message = "scaled to zero: set replicas to serve again"
        draft.condition("PredictorReady", "False", Reason.SCALED_TO_ZERO, message)
        draft.ready(Reason.SCALED_TO_ZERO, message)
        return ()
    message = f"revision {current.revision} serves"
    draft.condition("PredictorReady", "True", Reason.SERVING, message).ready(Reason.SERVING, message)
    return () if before == current.revision else (Notice("Normal", Reason.SERVING, message),)


def rolling_out(
    newest: str, current: Revision | None, trouble: Trouble | None, old: Revision | None, draft: Draft
) -> tuple[Notice, ...]:
    """The newest revision does not serve yet, or cannot. Those before it are not touched."""
    revisions = dict((draft.wire.get("components") or {}).get("predictor") or {})
    draft.wire["components"] = {"predictor": revisions | {"latestCreatedRevision": newest}}
    late = current.overdue if current is not None else ""
    if trouble is None and late:
        trouble = Trouble(Reason.PROGRESS_DEADLINE_EXCEEDED, late, "")
    if trouble is None:
        transition(draft, TransitionStatus.IN_PROGRESS)
        return _going_on(newest, old, draft)
    transition(draft, TransitionStatus.BLOCKED_BY_FAILED_LOAD, _failure(trouble, draft))
    where = f"pod {trouble.pod}: " if trouble.pod else ""
    message = f"revision {newest} does not serve: {where}{trouble.message}"
    if old is not None:
        message += f"; revision {old.revision} goes on serving"
    notice = once(draft, Notice("Warning", trouble.reason, message))
    draft.condition("PredictorReady", "True" if old else "False", trouble.reason, message)
    if late:
        draft.stalled(trouble.reason, message)
    else:
        draft.progressing(trouble.reason, message)
    return notice


def _going_on(newest: str, old: Revision | None, draft: Draft) -> tuple[Notice, ...]:
    message = f"revision {newest} is starting"
    if old is not None:
        message += f"; revision {old.revision} goes on serving"
    draft.condition("PredictorReady", "True" if old else "False", Reason.ROLLING_OUT, message)
    draft.progressing(Reason.ROLLING_OUT, message)
    return ()


def _failure(trouble: Trouble, draft: Draft) -> dict[str, Any]:
    known = (draft.old.get("modelStatus") or {}).get("lastFailureInfo") or {}
    same = known.get("reason") == trouble.reason and known.get("pod", "") == trouble.pod
    failure: dict[str, Any] = {
        "reason": str(trouble.reason),
        "message": shorten(trouble.message),
        "time": known["time"] if same and "time" in known else format_time(draft.now),
    }
    if trouble.exit_code is not None:
        failure["exitCode"] = trouble.exit_code
    if trouble.pod:
        failure["pod"] = trouble.pod
    return failure


def once(draft: Draft, notice: Notice) -> tuple[Notice, ...]:
    """Tell a trouble when it appears, and not at every look."""
    before = get(draft.old.get("conditions") or [], "Ready") or {}
    return () if before.get("reason") == notice.reason else (notice,)
