"""The life of a job with a gang of pods, whatever its kind: ordered rules, of which the first that applies decides.

The order is the policy: an end is final, success counts even when it comes with a suspension or too late, suspension
goes before failure, and no gang starts while another may still run. Pure; called by the kinds' plan.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway.api.common.types import Reason
from slipway.gang import completed_nodes
from slipway.gang import status as words
from slipway.gang.policy import deadlines, success, ttl
from slipway.gang.policy.restart import restart_or_fail
from slipway.gang.rules import elastic, waiting
from slipway.gang.rules.housekeeping import earlier_attempts as _earlier_attempts
from slipway.gang.rules.housekeeping import next_deadline as _next_deadline
from slipway.gang.rules.root_cause import amend, loss, seconds_to_settle
from slipway.gang.state import Scene
from slipway.reconcile.plan import Notice, Plan, soonest
from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.status import Draft, describe


def left_alone(obj: Mapping[str, Any]) -> bool:
    """Tell whether the job is being deleted, or belongs to another controller."""
    managed_by = ((obj.get("spec") or {}).get("runPolicy") or {}).get("managedBy")
    return bool(obj["metadata"].get("deletionTimestamp") or managed_by)


def decide(scene: Scene, progress: Mapping[str, Any] | None = None) -> Plan:
    """Decide what to do now. `progress` is the newest report of the pods, as status.progress holds it, or None.

    A rule that declines, by None, leaves the draft as it was: the next one decides from what was seen.
    """
    amend(scene)
    if scene.draft.run.finished:
        return _finished(scene)
    words.sound_again(scene.draft)
    if progress:
        scene.draft.wire["progress"] = {**(scene.draft.wire.get("progress") or {}), **progress}
    hurry = completed_nodes.remember(scene)
    decided = next(decision for rule in _RULES if (decision := rule(scene)) is not None)
    # Not before pods are made: the same status may say that they have been.
    return replace(decided, persist_first=True) if hurry and decided.status and not decided.writes else decided


def invalid(draft: Draft, problems: Sequence[str]) -> Plan:
    """Plan for a spec that makes no sense: nothing is touched, and the status says what to change."""
    if draft.run.finished:
        return Plan()
    message = "; ".join(problems)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=(notice,))


def _finished(scene: Scene) -> Plan:
    remaining = ttl.seconds_to_live(scene.gang.run_policy, scene.draft.run, scene.now)
    if remaining is not None and remaining <= 0:
        return Plan(delete_job=True)
    doomed = _end_of(scene)
    return Plan(status=scene.draft.done(), deletes=doomed.deletes, requeue_after=soonest(remaining, doomed.wait))


def _succeeded(scene: Scene) -> Plan | None:
    if not success.succeeded(scene.rules.success, scene.current, scene.size, elastic=scene.nodes is not None):
        return None
    if scene.draft.run.attempt_time is None:
        # The operator was away from the first pod's creation to the last one's end.
        words.created(scene)
    return scene.gang.succeeded(scene)


def _suspended(scene: Scene) -> Plan | None:
    if not scene.gang.run_policy.suspend:
        return None
    draft, run = scene.draft, scene.draft.run
    notices: tuple[Notice, ...] = ()
    message = "suspended: the pods get their grace period to save a checkpoint"
    if not run.suspended:
        notices = (Notice("Normal", Reason.SUSPENDED, message),)
        if scene.pods or run.attempt_time is not None:
            draft.next_attempt()
        if run.refused_time is not None:
            draft.without("Created")
            words.pause_over(draft)
        draft.unset("specDigest", "queuedTime", "queue")
    message += words.held(pod for pod in scene.pods if not pod.ended)
    draft.condition("Suspended", "True", Reason.SUSPENDED, message)
    draft.condition("Running", "False", Reason.SUSPENDED, message)
    draft.condition("Ready", "Unknown", Reason.SUSPENDED, message).without("Reconciling", "Restarting", "Stalled")
    old = _earlier_attempts(scene)
    return Plan(
        status=draft.done(),
        persist_first=not run.suspended,
        deletes=old.deletes,
        notices=notices,
        requeue_after=old.wait,
    )


def _behind(scene: Scene) -> Plan | None:
    """Rule for pods of an attempt that the status does not know of: the job that we look at is not the newest."""
    if all(pod.attempt <= scene.draft.run.attempt for pod in scene.pods):
        return None
    newest = max(pod.attempt for pod in scene.pods)
    scene.draft.wire["attempt"] = newest
    return Plan(status=scene.draft.done(), persist_first=True, verify_job=True)


def _leftovers(scene: Scene) -> Plan | None:
    if not cleanup.in_the_way(scene.pods, scene.draft.run.attempt):
        return None
    old = _earlier_attempts(scene)
    if held := words.held(pod for pod in scene.pods if pod.attempt < scene.draft.run.attempt and pod.may_run):
        scene.draft.progressing(Reason.PODS_PENDING, f"waiting for pods of the attempt before to go{held}")
    return Plan(status=scene.draft.done(), deletes=old.deletes, requeue_after=old.wait)


def _predecessor(scene: Scene) -> Plan | None:
    """Rule for pods of a deleted job of this name: they still save their checkpoint, or are ghosts on a lost node."""
    alive = [pod for pod in scene.predecessors if pod.may_run or pod.name in scene.missing_names]
    if scene.draft.run.attempt_time is not None or not alive:
        return None
    message = f"waiting for pods of a deleted job of the same name to go: {alive[0].name}"
    message += words.held(alive)
    words.refused(scene.draft, Reason.PODS_PENDING, message)
    # Only the garbage collector says that they are to go: until it does, they may belong to a job that was orphaned.
    ghosts = cleanup.clean([pod for pod in alive if pod.deleting], scene.grace, scene.now)
    again = soonest(ghosts.wait, _next_deadline(scene))
    return Plan(status=scene.draft.done(), deletes=ghosts.deletes, requeue_after=again)


def _failed(scene: Scene) -> Plan | None:
    failure = loss(scene)
    if failure is None:
        return None
    if wait := seconds_to_settle(scene, failure):
        return Plan(status=scene.draft.done(), requeue_after=soonest(wait, _next_deadline(scene)))
    # Before the draft moves on to the next attempt, whose pods are all missing.
    missing = scene.missing_names
    absent = tuple(missing) if failure.pod in missing else ()
    known = scene.gang.failed(scene, failure)
    if known is not None:
        return known
    alone = elastic.replaced(scene, failure)
    return _after(scene, failure, absent) if alone is None else replace(alone, verify_absent=absent)


def _hanging(scene: Scene) -> Plan | None:
    """Rule for a gang that runs without reports of progress: most likely a pod does not take part in a collective."""
    left = scene.hang_seconds_left
    if left is None or left > 0 or not scene.all_started:
        return None
    message = f"no progress was reported for {scene.rules.progress_deadline} s while all pods ran"
    first = scene.current[0]
    return _after(scene, Failure(first.name, first.node, "", None, "", Reason.HANG, message, scene.now), ())


def _after(scene: Scene, failure: Failure, absent: tuple[str, ...]) -> Plan:
    """Restart the gang, or end the job."""
    if scene.changed:
        scene.draft.record_failure(failure)
        message = f"{describe(failure)}; no restart, since the spec is not the one the pods were made from"
        draft = scene.draft.fail(Reason.SPEC_CHANGED, message)
    else:
        draft = restart_or_fail(scene.gang.failure_policy, failure, scene.draft, scene.gang.final_exit_codes)
    if draft.run.finished:
        words = next(c for c in draft.wire["conditions"] if c["type"] == "Failed")
        ending = end(scene, draft, Notice("Warning", words["reason"], words["message"]))
        return replace(ending, verify_absent=absent)
    old = _earlier_attempts(scene)
    return Plan(
        status=draft.done(),
        persist_first=True,
        verify_absent=absent,
        deletes=old.deletes,
        notices=(Notice("Warning", Reason.RESTARTING, describe(failure)),),
    )


def _overdue(scene: Scene) -> Plan | None:
    policy, run = scene.gang.run_policy, scene.draft.run
    active = deadlines.active_seconds_left(policy, run, scene.now)
    startup = deadlines.startup_seconds_left(policy, run, scene.now)
    if active is not None and active <= 0:
        reason = Reason.DEADLINE_EXCEEDED
        message = f"the job ran for activeDeadlineSeconds, {policy.active_deadline_seconds} s"
    elif startup is not None and startup <= 0 and not scene.all_started:
        reason = Reason.STARTUP_DEADLINE_EXCEEDED
        message = f"not all pods were running after {policy.startup_deadline_seconds} s{words.why_not_running(scene)}"
    else:
        return None
    return end(scene, scene.draft.fail(reason, message), Notice("Warning", reason, message))


def _incomplete(scene: Scene) -> Plan | None:
    """Create what the attempt lacks. ConfigMap and Service go first: a pod that is there means that they are, too."""
    run = scene.draft.run
    if run.attempt_time is not None:
        return None
    scene.draft.unset("queue")
    if scene.changed:
        return Plan(status=words.spec_changed(scene.draft).done(), notices=(words.SPEC_CHANGED_NOTICE,))
    there = {pod.index for pod in scene.current}
    missing = [index for index in scene.indices if index not in there]
    writes = scene.gang.writes(missing, run.attempt, first=not there)
    notices = (Notice("Normal", Reason.RESUMED, "the job was resumed"),) if run.suspended else ()
    words.created(scene)
    if scene.nodes is not None:
        scene.draft.wire["elastic"] = replace(scene.nodes, creating=()).wire()
    old = _earlier_attempts(scene)
    return Plan(
        status=scene.draft.done(),
        deletes=old.deletes,
        writes=writes,
        notices=notices,
        requeue_after=soonest(_next_deadline(scene), old.wait),
        least=scene.rules.least or scene.size,
    )


def _going_on(scene: Scene) -> Plan:
    scene.draft.unset("queue")
    words.count(scene)
    notices: list[Notice] = []
    if scene.all_started:
        notices = words.running(scene)
    elif scene.draft.run.running_time is None or scene.nodes is not None:
        notices = words.waiting(scene.draft.bank_active_time(), scene.obstacle)
    if scene.changed:
        words.spec_changed(scene.draft)
        notices.append(words.SPEC_CHANGED_NOTICE)
    old = _earlier_attempts(scene)
    return Plan(
        status=scene.draft.done(),
        deletes=old.deletes,
        notices=tuple(notices),
        keeps=() if scene.changed else scene.gang.keeps(scene.draft.run.attempt),
        requeue_after=soonest(_next_deadline(scene), old.wait),
    )


_RULES: tuple[Callable[[Scene], Plan | None], ...] = (
    _succeeded,
    _suspended,
    _behind,
    _leftovers,
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
    _going_on,
)


def end(scene: Scene, draft: Draft, notice: Notice) -> Plan:
    """Persist the end of the job, tell it, and clean up behind it."""
    doomed = _end_of(scene)
    words.count(scene, going={delete.uid for delete in doomed.deletes})
    status = draft.unset("completed").done()
    return Plan(status=status, persist_first=True, deletes=doomed.deletes, notices=(notice,), requeue_after=doomed.wait)


def _end_of(scene: Scene) -> cleanup.Cleaning:
    return cleanup.after_finish(scene.gang.run_policy.clean_pod_policy, scene.pods, scene.grace, scene.now)
