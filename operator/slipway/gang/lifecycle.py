"""The life of a job with a gang of pods, whatever its kind: ordered rules, of which the first that applies decides.

The order is the policy: an end is final, success counts even when it comes with a suspension or too late, suspension
goes before failure, and no gang starts while another may still run. Pure; called by the kinds' plan.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway.api.common.types import Reason
from slipway.gang import completed_nodes, status
from slipway.gang.policy import deadlines, success, ttl
from slipway.gang.policy.restart import restart_or_fail
from slipway.gang.rules import elastic, waiting
from slipway.gang.rules.housekeeping import earlier_attempts as _earlier_attempts
from slipway.gang.rules.housekeeping import next_deadline as _next_deadline
from slipway.gang.rules.root_cause import amend, loss, seconds_to_settle
from slipway.gang.state import GangState
from slipway.reconcile.plan import Notice, Plan, soonest
from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.status import StatusDraft, describe


def left_alone(obj: Mapping[str, Any]) -> bool:
    """Tell whether the job is being deleted, or belongs to another controller."""
    managed_by = ((obj.get("spec") or {}).get("runPolicy") or {}).get("managedBy")
    return bool(obj["metadata"].get("deletionTimestamp") or managed_by)


def decide(state: GangState, progress: Mapping[str, Any] | None = None) -> Plan:
    """Decide what to do now. `progress` is the newest report of the pods, as status.progress holds it, or None.

    A rule that declines, by None, leaves the draft as it was: the next one decides from what was seen.
    """
    amend(state)
    if state.draft.run.finished:
        return _finished(state)
    status.sound_again(state.draft)
    if progress:
        state.draft.fields["progress"] = {**(state.draft.fields.get("progress") or {}), **progress}
    hurry = completed_nodes.remember(state)
    decided = next(decision for rule in _RULES if (decision := rule(state)) is not None)
    # Not before pods are made: the same status may say that they have been.
    return replace(decided, persist_first=True) if hurry and decided.status and not decided.writes else decided


def invalid(draft: StatusDraft, problems: Sequence[str]) -> Plan:
    """Plan for a spec that makes no sense: nothing is touched, and the status says what to change."""
    if draft.run.finished:
        return Plan()
    message = "; ".join(problems)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=(notice,))


def _finished(state: GangState) -> Plan:
    remaining = ttl.seconds_to_live(state.gang.run_policy, state.draft.run, state.now)
    if remaining is not None and remaining <= 0:
        return Plan(delete_job=True)
    doomed = _end_of(state)
    return Plan(status=state.draft.done(), deletes=doomed.deletes, requeue_after=soonest(remaining, doomed.wait))


def _succeeded(state: GangState) -> Plan | None:
    if not success.succeeded(state.rules.success, state.current, state.size, elastic=state.nodes is not None):
        return None
    if state.draft.run.attempt_time is None:
        # The operator was away from the first pod's creation to the last one's end.
        status.created(state)
    return state.gang.succeeded(state)


def _suspended(state: GangState) -> Plan | None:
    if not state.gang.run_policy.suspend:
        return None
    draft, run = state.draft, state.draft.run
    notices: tuple[Notice, ...] = ()
    message = "suspended: the pods get their grace period to save a checkpoint"
    if not run.suspended:
        notices = (Notice("Normal", Reason.SUSPENDED, message),)
        if state.pods or run.attempt_time is not None:
            draft.next_attempt()
        if run.refused_time is not None:
            draft.without("Created")
            status.pause_over(draft)
        draft.unset("specDigest", "queuedTime", "queue")
    message += status.held(pod for pod in state.pods if not pod.ended)
    draft.condition("Suspended", "True", Reason.SUSPENDED, message)
    draft.condition("Running", "False", Reason.SUSPENDED, message)
    draft.condition("Ready", "Unknown", Reason.SUSPENDED, message).without("Reconciling", "Restarting", "Stalled")
    old = _earlier_attempts(state)
    return Plan(
        status=draft.done(),
        persist_first=not run.suspended,
        deletes=old.deletes,
        notices=notices,
        requeue_after=old.wait,
    )


def _stale_cache(state: GangState) -> Plan | None:
    """Rule for pods of an attempt that the status does not know of: the job that we look at is not the newest."""
    if all(pod.attempt <= state.draft.run.attempt for pod in state.pods):
        return None
    newest = max(pod.attempt for pod in state.pods)
    state.draft.fields["attempt"] = newest
    return Plan(status=state.draft.done(), persist_first=True, verify_job=True)


def _leftover_pods(state: GangState) -> Plan | None:
    if not cleanup.in_the_way(state.pods, state.draft.run.attempt):
        return None
    old = _earlier_attempts(state)
    if held := status.held(pod for pod in state.pods if pod.attempt < state.draft.run.attempt and pod.may_run):
        state.draft.progressing(Reason.PODS_PENDING, f"waiting for pods of the attempt before to go{held}")
    return Plan(status=state.draft.done(), deletes=old.deletes, requeue_after=old.wait)


def _predecessor(state: GangState) -> Plan | None:
    """Rule for pods of a deleted job of this name: they still save their checkpoint, or are ghosts on a lost node."""
    alive = [pod for pod in state.predecessors if pod.may_run or pod.name in state.missing_names]
    if state.draft.run.attempt_time is not None or not alive:
        return None
    message = f"waiting for pods of a deleted job of the same name to go: {alive[0].name}"
    message += status.held(alive)
    status.refused(state.draft, Reason.PODS_PENDING, message)
    # Only the garbage collector says that they are to go: until it does, they may belong to a job that was orphaned.
    ghosts = cleanup.clean([pod for pod in alive if pod.deleting], state.grace, state.now)
    again = soonest(ghosts.wait, _next_deadline(state))
    return Plan(status=state.draft.done(), deletes=ghosts.deletes, requeue_after=again)


def _failed(state: GangState) -> Plan | None:
    failure = loss(state)
    if failure is None:
        return None
    if wait := seconds_to_settle(state, failure):
        return Plan(status=state.draft.done(), requeue_after=soonest(wait, _next_deadline(state)))
    # Before the draft moves on to the next attempt, whose pods are all missing.
    missing = state.missing_names
    absent = tuple(missing) if failure.pod in missing else ()
    known = state.gang.failed(state, failure)
    if known is not None:
        return known
    alone = elastic.replaced(state, failure)
    return _restart_or_fail(state, failure, absent) if alone is None else replace(alone, verify_absent=absent)


def _hanging(state: GangState) -> Plan | None:
    """Rule for a gang that runs without reports of progress: most likely a pod does not take part in a collective."""
    left = state.hang_seconds_left
    if left is None or left > 0 or not state.all_started:
        return None
    message = f"no progress was reported for {state.rules.progress_deadline} s while all pods ran"
    first = state.current[0]
    return _restart_or_fail(state, Failure(first.name, first.node, "", None, "", Reason.HANG, message, state.now), ())


def _restart_or_fail(state: GangState, failure: Failure, absent: tuple[str, ...]) -> Plan:
    """Restart the gang, or end the job."""
    if state.changed:
        state.draft.record_failure(failure)
        message = f"{describe(failure)}; no restart, since the spec is not the one the pods were made from"
        draft = state.draft.fail(Reason.SPEC_CHANGED, message)
    else:
        draft = restart_or_fail(state.gang.failure_policy, failure, state.draft, state.gang.final_exit_codes)
    if draft.run.finished:
        told = next(c for c in draft.fields["conditions"] if c["type"] == "Failed")
        ending = end(state, draft, Notice("Warning", told["reason"], told["message"]))
        return replace(ending, verify_absent=absent)
    old = _earlier_attempts(state)
    return Plan(
        status=draft.done(),
        persist_first=True,
        verify_absent=absent,
        deletes=old.deletes,
        notices=(Notice("Warning", Reason.RESTARTING, describe(failure)),),
    )


def _overdue(state: GangState) -> Plan | None:
    policy, run = state.gang.run_policy, state.draft.run
    active = deadlines.active_seconds_left(policy, run, state.now)
    startup = deadlines.startup_seconds_left(policy, run, state.now)
    if active is not None and active <= 0:
        reason = Reason.DEADLINE_EXCEEDED
        message = f"the job ran for activeDeadlineSeconds, {policy.active_deadline_seconds} s"
    elif startup is not None and startup <= 0 and not state.all_started:
        reason = Reason.STARTUP_DEADLINE_EXCEEDED
        message = f"not all pods were running after {policy.startup_deadline_seconds} s{status.why_not_running(state)}"
    else:
        return None
    return end(state, state.draft.fail(reason, message), Notice("Warning", reason, message))


def _incomplete(state: GangState) -> Plan | None:
    """Create what the attempt lacks. ConfigMap and Service go first: a pod that is there means that they are, too."""
    run = state.draft.run
    if run.attempt_time is not None:
        return None
    state.draft.unset("queue")
    if state.changed:
        return Plan(status=status.spec_changed(state.draft).done(), notices=(status.SPEC_CHANGED_NOTICE,))
    there = {pod.index for pod in state.current}
    missing = [index for index in state.indices if index not in there]
    writes = state.gang.writes(missing, run.attempt, first=not there)
    notices = (Notice("Normal", Reason.RESUMED, "the job was resumed"),) if run.suspended else ()
    status.created(state)
    if state.nodes is not None:
        state.draft.fields["elastic"] = replace(state.nodes, creating=()).wire()
    old = _earlier_attempts(state)
    left = state.gang.leaves(run.attempt - 1) if run.attempt and not there else ()
    return Plan(
        status=state.draft.done(),
        deletes=(*old.deletes, *left),
        writes=writes,
        notices=notices,
        requeue_after=soonest(_next_deadline(state), old.wait),
        least=state.rules.least or state.size,
    )


def _update_status(state: GangState) -> Plan:
    state.draft.unset("queue")
    status.count(state)
    notices: list[Notice] = []
    if state.all_started:
        notices = status.running(state)
    elif state.draft.run.running_time is None or state.nodes is not None:
        notices = status.waiting(state.draft.bank_active_time(), state.obstacle)
    if state.changed:
        status.spec_changed(state.draft)
        notices.append(status.SPEC_CHANGED_NOTICE)
    old = _earlier_attempts(state)
    return Plan(
        status=state.draft.done(),
        deletes=old.deletes,
        notices=tuple(notices),
        keeps=() if state.changed else state.gang.keeps(state.draft.run.attempt),
        requeue_after=soonest(_next_deadline(state), old.wait),
    )


_RULES: tuple[Callable[[GangState], Plan | None], ...] = (
    _succeeded,
    _suspended,
    _stale_cache,
    _leftover_pods,
    _failed,
    _hanging,
    _overdue,
    waiting.preempted,
    waiting.stranded,
    waiting.pausing,
    _predecessor,
    waiting.queued,
    _incomplete,
    elastic.resized,
    elastic.joining,
    _update_status,
)


def end(state: GangState, draft: StatusDraft, notice: Notice) -> Plan:
    """Persist the end of the job, tell it, and clean up behind it."""
    doomed = _end_of(state)
    status.count(state, going={delete.uid for delete in doomed.deletes})
    ended = draft.unset("completed").done()
    return Plan(status=ended, persist_first=True, deletes=doomed.deletes, notices=(notice,), requeue_after=doomed.wait)


def _end_of(state: GangState) -> cleanup.Cleanup:
    return cleanup.after_finish(state.gang.run_policy.clean_pod_policy, state.pods, state.grace, state.now)
