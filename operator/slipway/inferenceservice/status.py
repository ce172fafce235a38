"""An InferenceService's status in KServe's words and kstatus' conditions. Pure; called by the ways of rolling out."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.inferenceservice import TransitionStatus
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.observed import Revision, Trouble
from slipway.inferenceservice.policy.canary import CanaryState
from slipway.inferenceservice.service import GRPC_PORT, HTTP_PORT, InferenceService
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile.plan import Notice
from slipway.reconcile.status import StatusDraft
from slipway.runtime.conditions import format_time, get, shorten
from slipway.runtime.scraping.scrape import LARGEST

# Fields that may lag behind by a few seconds.
SOFT_FIELDS = frozenset({"replicas", "readyReplicas", "canaryStatuses"})


def transition(draft: StatusDraft, status: TransitionStatus, failure: dict[str, Any] | None = None) -> None:
    """Write status.modelStatus: where the rollout is, and what blocks it."""
    draft.fields["modelStatus"] = {"transitionStatus": str(status), **({"lastFailureInfo": failure} if failure else {})}


def addresses(service: InferenceService, draft: StatusDraft) -> None:
    """Write the URL and the addresses by which clients find the service."""
    host = f"{service.name}.{service.namespace}.svc.cluster.local"
    url = f"{'http' if service.spec.predictor.tls is None else 'https'}://{host}"
    draft.fields["url"] = url
    draft.fields["address"] = {"url": url, "grpc": f"{host}:{GRPC_PORT}"}


def count(state: ServiceState) -> None:
    """Count the pods, for people and for the scale subresource; and write who gets how much of the traffic."""
    ready = sum(revision.ready for revision in state.revisions)
    updated = sum(revision.ready for revision in state.revisions if revision.revision == state.newest)
    wire = state.draft.fields
    wire["replicas"] = {"desired": state.size.replicas, "ready": ready, "updated": updated}
    wire["readyReplicas"] = ready
    wire["selector"] = ",".join(f"{key}={value}" for key, value in manifests.selector(state.service).items())
    predictor = dict((wire.get("components") or {}).get("predictor") or {})
    predictor["traffic"] = _traffic(state.revisions, state.newest, ready)
    wire["components"] = {"predictor": predictor}


def _traffic(revisions: Sequence[Revision], newest: str, ready: int) -> list[dict[str, Any]]:
    serving = sorted((r for r in revisions if r.ready and not r.deleting), key=lambda r: (r.created, r.name))
    return [
        {
            "revisionName": revision.revision,
            "percent": round(100 * revision.ready / ready),
            "latestRevision": revision.revision == newest,
        }
        for revision in serving
    ]


def _revisions(draft: StatusDraft, **changes: str) -> None:
    predictor = dict((draft.fields.get("components") or {}).get("predictor") or {})
    draft.fields["components"] = {"predictor": predictor | changes}


def metrics(state: ServiceState, *, asked: bool) -> None:
    """Name the pod whose figures cannot be read, as long as a decision waits for them."""
    if not asked or not state.observed.given_up:
        state.draft.without("MetricsReady")
        return
    message = (
        f"{state.observed.given_up}. The server in its image has to answer GET /metrics on port {HTTP_PORT} within 3 s,"
        f" in Prometheus' text format and in at most {LARGEST // 1024} KiB: correct the image, or remove autoScaling"
        " and the canary. Until then it is asked once a minute, and counts as unknown"
    )
    state.draft.condition("MetricsReady", "False", Reason.METRICS_UNREADABLE, message)


def is_rolled_out(state: ServiceState) -> bool:
    """Tell whether the newest revision is the one that had all the traffic already."""
    predictor = (state.draft.old.get("components") or {}).get("predictor") or {}
    return bool(predictor.get("latestRolledoutRevision") == state.newest)


def serving(state: ServiceState, current: Revision) -> tuple[Notice, ...]:
    """Report that the newest revision serves with all its replicas."""
    draft = state.draft
    before = ((draft.fields.get("components") or {}).get("predictor") or {}).get("latestReadyRevision")
    if before and before != current.revision:
        _revisions(draft, previousRolledoutRevision=before)
    names = ("latestCreatedRevision", "latestReadyRevision", "latestRolledoutRevision")
    _revisions(draft, **dict.fromkeys(names, current.revision))
    transition(draft, TransitionStatus.UP_TO_DATE)
    if state.size.replicas == 0:
        if state.size.sleeping:
            message = "scaled to zero: waiting for a request"
            draft.condition("PredictorReady", "True", Reason.NO_TRAFFIC, message).ready(Reason.NO_TRAFFIC, message)
            return ()
        message = "scaled to zero: set replicas to serve again"
        draft.condition("PredictorReady", "False", Reason.SCALED_TO_ZERO, message)
        draft.ready(Reason.SCALED_TO_ZERO, message)
        return ()
    message = f"revision {current.revision} serves"
    draft.condition("PredictorReady", "True", Reason.SERVING, message).ready(Reason.SERVING, message)
    return () if before == current.revision else (Notice("Normal", Reason.SERVING, message),)


def scaling(state: ServiceState, current: Revision, trouble: Trouble | None) -> tuple[Notice, ...]:
    """Report that the revision that serves gets more pods, or lost some: it is ready all the time."""
    draft = state.draft
    message = f"revision {current.revision} serves with {current.ready} of {state.size.replicas} replicas"
    draft.condition("PredictorReady", "True", Reason.SERVING, message).ready(Reason.SERVING, message)
    transition(draft, TransitionStatus.UP_TO_DATE)
    reason = Reason.ROLLING_OUT if trouble is None else trouble.reason
    if trouble is not None:
        message += f"; pod {trouble.pod}: {trouble.message}"
        transition(draft, TransitionStatus.UP_TO_DATE, _failure(trouble, draft))
    draft.condition("Reconciling", "True", reason, message)
    return ()


def waking(state: ServiceState, current: Revision) -> tuple[Notice, ...]:
    """Report that the revision has no pod yet; whoever asks is held until it has. So it is ready all the time."""
    draft = state.draft
    message = f"revision {current.revision} is starting, and requests wait for it at the activator"
    draft.condition("PredictorReady", "True", Reason.ACTIVATING, message).ready(Reason.ACTIVATING, message)
    transition(draft, TransitionStatus.UP_TO_DATE)
    draft.condition("Reconciling", "True", Reason.ACTIVATING, message)
    return ()


def rolling_out(
    state: ServiceState, current: Revision | None, trouble: Trouble | None, old: Revision | None
) -> tuple[Notice, ...]:
    """Report that the newest revision does not serve yet, or cannot. Those before it are not touched."""
    draft, newest = state.draft, state.newest
    _revisions(draft, latestCreatedRevision=newest)
    late = state.hopeless
    if trouble is None and late:
        trouble = Trouble(Reason.PROGRESS_DEADLINE_EXCEEDED, late, "")
    if trouble is None:
        transition(draft, TransitionStatus.IN_PROGRESS)
        return _continuing(newest, old, draft)
    transition(draft, TransitionStatus.BLOCKED_BY_FAILED_LOAD, _failure(trouble, draft))
    message = _blocked(newest, trouble, old)
    notice = once(draft, Notice("Warning", trouble.reason, message))
    draft.condition("PredictorReady", "True" if old else "False", trouble.reason, message)
    if late:
        draft.stalled(trouble.reason, message)
    else:
        draft.progressing(trouble.reason, message)
    return notice


def _blocked(newest: str, trouble: Trouble, old: Revision | None) -> str:
    where = f"pod {trouble.pod}: " if trouble.pod else ""
    message = f"revision {newest} does not serve: {where}{trouble.message}"
    return f"{message}; revision {old.revision} goes on serving" if old is not None else message


def _continuing(newest: str, old: Revision | None, draft: StatusDraft) -> tuple[Notice, ...]:
    message = f"revision {newest} is starting"
    if old is not None:
        message += f"; revision {old.revision} goes on serving"
    draft.condition("PredictorReady", "True" if old else "False", Reason.ROLLING_OUT, message)
    draft.progressing(Reason.ROLLING_OUT, message)
    return ()


def canary_on(state: ServiceState, stable: Revision, stand: CanaryState, trouble: Trouble | None) -> tuple[Notice, ...]:
    """Report that the newest revision is beside the one that serves."""
    draft, entry = state.draft, state.draft.fields["canaryStatuses"][0]
    _revisions(draft, latestCreatedRevision=state.newest)
    message = (
        f"canary {state.newest} beside revision {stable.revision}, step {stand.step + 1},"
        f" {_part(entry)}: {stand.message or 'its pods are starting'}"
    )
    reason: str = Reason.CANARY_ANALYSIS
    transition(draft, TransitionStatus.IN_PROGRESS)
    if trouble is not None:
        reason, message = trouble.reason, _blocked(state.newest, trouble, stable)
        transition(draft, TransitionStatus.BLOCKED_BY_FAILED_LOAD, _failure(trouble, draft))
    # The figures behind it change all the time: they are in canaryStatuses, and no reason to write a condition.
    told = get(draft.old.get("conditions") or [], "Reconciling") or {}
    step = f"step {stand.step + 1},"
    if trouble is None and told.get("reason") == reason and state.newest in told["message"] and step in told["message"]:
        message = told["message"]
    notice = once(draft, Notice("Normal" if trouble is None else "Warning", reason, message))
    draft.condition("PredictorReady", "True" if stable.ready else "False", reason, message)
    draft.progressing(reason, message)
    return notice


def _part(entry: Mapping[str, Any]) -> str:
    if entry["mirror"]:
        return f"copies of {entry['trafficPercent']} % of the requests"
    return f"{entry['actualPercent']} % of the traffic"


def canary_promoted(state: ServiceState, stand: CanaryState) -> tuple[Notice, ...]:
    """Report that the canary has passed every step."""
    draft = state.draft
    before = ((draft.old.get("components") or {}).get("predictor") or {}).get("latestRolledoutRevision") or ""
    _revisions(draft, latestRolledoutRevision=state.newest, previousRolledoutRevision=before)
    message = f"canary {state.newest} is promoted: {stand.message}"
    transition(draft, TransitionStatus.IN_PROGRESS)
    draft.condition("PredictorReady", "True", Reason.CANARY_PROMOTED, message)
    draft.progressing(Reason.CANARY_PROMOTED, message)
    return (Notice("Normal", Reason.CANARY_PROMOTED, message),)


def canary_rolled_back(state: ServiceState, stable: Revision, failure: Trouble) -> tuple[Notice, ...]:
    """Report that the canary is worse, or does not serve.

    What serves goes on, and nothing more happens until somebody changes something.
    """
    draft = state.draft
    message = f"canary {state.newest} is rolled back: {failure.message}; revision {stable.revision} serves"
    transition(draft, TransitionStatus.BLOCKED_BY_FAILED_LOAD, _failure(failure, draft))
    notice = once(draft, Notice("Warning", Reason.CANARY_ROLLED_BACK, message))
    ready = "True" if stable.ready else "False"
    draft.condition("PredictorReady", ready, Reason.CANARY_ROLLED_BACK, message)
    draft.stalled(Reason.CANARY_ROLLED_BACK, message)
    return notice


def _failure(trouble: Trouble, draft: StatusDraft) -> dict[str, Any]:
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


def once(draft: StatusDraft, notice: Notice) -> tuple[Notice, ...]:
    """Tell a trouble when it appears, and not at every look."""
    before = get(draft.old.get("conditions") or [], "Ready") or {}
    return () if before.get("reason") == notice.reason else (notice,)
