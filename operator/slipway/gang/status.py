"""Status of a job, from the pods of its gang: counts, conditions, progress. Pure; called by lifecycle.py."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from slipway.api.common.types import Reason
from slipway.gang.policy import backoff
from slipway.gang.state import GangState, Hold
from slipway.reconcile.plan import Notice
from slipway.reconcile.pods.observed import Obstacle, PodState
from slipway.reconcile.status import StatusDraft
from slipway.runtime import conditions
from slipway.runtime.conditions import format_time

# Fields that may lag behind by a few seconds, so that a gang of hundreds costs a handful of writes.
SOFT_FIELDS = frozenset({"replicaStatuses", "progress", "queue", "completed"})

# Named in a condition.
MOST_FINALIZERS = 4
_PENDING = "waiting for the pods to run"
_SPEC_CHANGED = (
    "only runPolicy and failurePolicy can be changed while the job runs: "
    "take the change back, or delete the job and create it again"
)
SPEC_CHANGED_NOTICE = Notice("Warning", Reason.SPEC_CHANGED, _SPEC_CHANGED)


def count(state: GangState, going: Collection[str] = ()) -> None:
    """Count the current attempt's pods by state; those `going` (UIDs) are on their way out and not active any more."""
    pods, wire = state.current, state.draft.fields
    active = [pod for pod in pods if not pod.ended and pod.uid not in going]
    wire["replicaStatuses"] = {
        "desired": state.size,
        "active": len(active),
        "ready": sum(pod.ready for pod in active),
        "succeeded": sum(pod.phase == "Succeeded" for pod in pods),
        "failed": sum(pod.phase == "Failed" for pod in pods),
    }


def created(state: GangState) -> None:
    """Record that all pods of the attempt have been asked for: one that is missing from now on was lost."""
    draft, nodes = state.draft, len(state.indices)
    moment = format_time(draft.now)
    draft.fields.setdefault("startTime", moment)
    draft.fields["attemptTime"] = moment
    draft.fields["specDigest"] = state.digest
    draft.fields["replicaStatuses"] = {"desired": nodes, "active": nodes, "ready": 0, "succeeded": 0, "failed": 0}
    pause_over(draft)
    draft.condition("Created", "True", Reason.PODS_CREATED, "all pods have been created")
    if draft.run.suspended:
        draft.condition("Suspended", "False", Reason.RESUMED, "the job was resumed")
    draft.progressing(Reason.PODS_PENDING, _PENDING).condition("Running", "False", Reason.PODS_PENDING, _PENDING)


def queued(draft: StatusDraft, hold: Hold) -> tuple[Notice, ...]:
    """Record the wait for room. The condition is written once: the place in the line, which changes, has its own field.

    Only a quota is told in it with all figures: it is people who make it large enough.
    """
    told = conditions.get(draft.fields.get("conditions") or [], "Ready")
    draft.fields.setdefault("queuedTime", format_time(draft.run.refused_time or draft.now))
    if hold.reason is not Reason.QUEUED:
        known = told is not None and (told.get("reason"), told.get("message")) == (hold.reason, hold.missing)
        draft.unset("queue").progressing(hold.reason, hold.missing)
        draft.condition("Running", "False", hold.reason, hold.missing)
        return () if known else (Notice("Warning", hold.reason, hold.missing),)
    draft.fields["queue"] = {"position": hold.position, "length": hold.length, "missing": hold.missing}
    if hold.never:
        refused(draft, Reason.CREATE_REFUSED, hold.missing).condition(
            "Running", "False", Reason.CREATE_REFUSED, hold.missing
        )
        known = told is not None and told.get("reason") == Reason.CREATE_REFUSED
        return () if known else (Notice("Warning", Reason.CREATE_REFUSED, hold.missing),)
    if draft.run.refused_time is not None and not (draft.fields.get("backoff") or {}).get("refusals"):
        draft.without("Created")
    message = "waiting for room for all pods of the gang; status.queue says which place and what is missing"
    if hold.short:
        message = f"waiting for the namespace's quota: {hold.missing}"
    draft.progressing(Reason.QUEUED, message).condition("Running", "False", Reason.QUEUED, message)
    if told is not None and told.get("reason") == Reason.QUEUED:
        return ()
    return (Notice("Normal", Reason.QUEUED, f"place {hold.position} of {hold.length}: {hold.missing}"),)


def running(state: GangState) -> list[Notice]:
    """Record that all pods run, or as many as an elastic job needs; told once per attempt."""
    draft, started = state.draft, state.started
    told = draft.run.running_time is not None
    draft.fields.setdefault("runningTime", format_time(draft.now))
    message = "all pods are running" if started >= state.size else f"{started} of {state.size} pods are running"
    draft.condition("Running", "True", Reason.ALL_PODS_RUNNING, message).progressing(Reason.ALL_PODS_RUNNING, message)
    if draft.run.restarts:
        draft.condition("Restarting", "False", Reason.RESTARTED, f"running again, attempt {draft.run.attempt}")
    return [] if told else [Notice("Normal", Reason.ALL_PODS_RUNNING, message)]


def waiting(draft: StatusDraft, obstacle: Obstacle | None) -> list[Notice]:
    """Record that not all pods run yet; an obstacle is shown with the server's own words, and told once."""
    before: Mapping[str, Any] = conditions.get(draft.fields.get("conditions") or [], "Running") or {}
    if obstacle is None:
        reason, message = Reason.PODS_PENDING, _PENDING
    else:
        reason, message = obstacle.reason, f"pod {obstacle.pod}: {obstacle.message}"
    known = before.get("reason") == reason
    if known and obstacle is not None and obstacle.again:
        # A kubelet alternates between the error and "back-off": the error is what helps, and stays.
        message = before.get("message") or message
    draft.condition("Running", "False", reason, message).progressing(reason, message)
    return [] if known or obstacle is None else [Notice("Warning", reason, message)]


def why_not_running(state: GangState) -> str:
    """The end of a sentence that says that the pods did not start in time."""
    if "queue" in state.draft.fields:
        return f"; {Reason.QUEUED}: {state.draft.fields['queue']['missing']}"
    refused = conditions.get(state.draft.fields.get("conditions") or [], "Created")
    if refused is not None and refused["status"] == "False":
        return f"; {refused['reason']}: {refused['message']}"
    obstacle = state.obstacle
    return f"; pod {obstacle.pod}: {obstacle.reason}: {obstacle.message}" if obstacle else ""


def held(pods: Iterable[PodState]) -> str:
    """The end of a sentence on pods that are to go: those that only somebody's finalizers keep; "" for none."""
    found = [pod for pod in pods if pod.held_by]
    if not found:
        return ""
    more = f" (and {len(found) - 1} more pods)" if len(found) > 1 else ""
    names = ", ".join(sorted({word for pod in found for word in pod.held_by})[:MOST_FINALIZERS])
    return f"; pod {found[0].name}{more} stays until its finalizers are taken away by whoever set them: {names}"


def sound_again(draft: StatusDraft) -> None:
    """Take back Stalled where an edit, a newer CRD or a newer operator has made the spec valid."""
    told = conditions.get(draft.fields.get("conditions") or [], "Stalled") or {}
    if told.get("reason") == Reason.INVALID_SPEC:
        draft.progressing(Reason.PENDING, "the spec was wrong and is not any more")


def spec_changed(draft: StatusDraft) -> StatusDraft:
    """Report an edit of the spec: the pods are left alone, and the status says what to do."""
    return draft.stalled(Reason.SPEC_CHANGED, _SPEC_CHANGED)


def refused(draft: StatusDraft, reason: str, message: str) -> StatusDraft:
    """Record that the server did not let something be created. The condition's time is when that began."""
    return draft.condition("Created", "False", reason, message).progressing(reason, message)


def take_back(draft: StatusDraft, made: int, least: int) -> StatusDraft:
    """Take back an attempt refused after `made` pods: fewer than `least` go, and all are tried anew later.

    No restart is counted: nothing has run. The next try has a number of its own, since pods that are going keep names.
    """
    draft.fields["backoff"] = backoff.after_refusal(draft.fields.get("backoff") or {}, draft.now)
    draft.fields.setdefault("queuedTime", format_time(draft.run.refused_time or draft.now))
    return back_to_the_line(draft) if 0 < made < least else draft


def back_to_the_line(draft: StatusDraft) -> StatusDraft:
    """Put the job back into the line: the next attempt has waited as long as this one, which has not come to run."""
    waited = draft.fields.get("queuedTime") or draft.fields.get("attemptTime")
    draft.next_attempt()
    if waited:
        draft.fields["queuedTime"] = waited
    return draft


def pause_over(draft: StatusDraft) -> None:
    """End the pause. The row of restarts is still one until an attempt has run for long."""
    restarts = (draft.fields.get("backoff") or {}).get("restarts")
    draft.unset("backoff")
    if restarts:
        draft.fields["backoff"] = {"restarts": restarts}


def complete_progress(draft: StatusDraft) -> None:
    """Set the progress to 100 %: a job that has succeeded is not at 97 % because its last report got lost."""
    progress: dict[str, Any] = draft.fields.get("progress") or {}
    if progress:
        draft.fields["progress"] = {**progress, "percent": 100, "estimatedRemainingSeconds": 0}
