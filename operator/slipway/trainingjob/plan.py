"""What to do with a TrainingJob now: (object, pods, progress, now) -> Plan. Pure; called by reconcile.py.

Each rule looks at the job in turn, and the first that applies decides. The order is the policy: an end is final, a spec
that makes no sense touches nothing, success counts even when it comes with a suspension or too late, suspension goes
before failure, and no gang starts while another may still run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slipway.api.common import Reason
from slipway.api.trainingjob import spec_problems
from slipway.job.observed import Failure, first_failure, observe_pod
from slipway.job.plan import Notice, Plan, Write, soonest
from slipway.job.policy import cleanup, deadlines, ttl
from slipway.job.policy.restart import restart_or_fail
from slipway.job.status import Draft, describe
from slipway.runtime.resource import CONFIGMAPS, PODS, SERVICES
from slipway.trainingjob import pods as render
from slipway.trainingjob import status as gang
from slipway.trainingjob.job import Platform, identify
from slipway.trainingjob.launchers import launcher_of
from slipway.trainingjob.scene import Scene


def plan(
    obj: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    platform: Platform,
    now: datetime,
    *,
    predecessors: Sequence[Mapping[str, Any]] = (),
    progress: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide. `children` are the job's pods by owner UID, `predecessors` those of earlier jobs of the same name;
    `progress` is the newest report, or None.
    """
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp") or ((obj.get("spec") or {}).get("runPolicy") or {}).get("managedBy"):
        return Plan()
    draft = Draft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return _invalid(draft, problems)
    job = identify(obj, spec)
    if problems := launcher_of(job).problems(job):
        return _invalid(draft, problems)
    pods = tuple(observe_pod(pod, now) for pod in children)
    earlier = tuple(observe_pod(pod, now) for pod in predecessors)
    scene = Scene(job, pods, earlier, draft, platform, now)
    if draft.run.finished:
        return _finished(scene)
    if progress:
        draft.wire["progress"] = {**(draft.wire.get("progress") or {}), **progress}
    return next(decision for rule in _RULES if (decision := rule(scene)) is not None)


def _invalid(draft: Draft, problems: Sequence[str]) -> Plan:
    if draft.run.finished:
        return Plan()
    message = "; ".join(problems)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=(notice,))


def _finished(scene: Scene) -> Plan:
    remaining = ttl.seconds_to_live(scene.job.spec.run_policy, scene.draft.run, scene.now)
    if remaining is not None and remaining <= 0:
        return Plan(delete_job=True)
    doomed = _end_of(scene)
    return Plan(status=scene.draft.done(), deletes=doomed.deletes, requeue_after=soonest(remaining, doomed.wait))


def _succeeded(scene: Scene) -> Plan | None:
    pods = scene.current
    if len(pods) < scene.size or any(pod.phase != "Succeeded" for pod in pods):
        return None
    if scene.draft.run.attempt_time is None:
        # The operator was away from the first pod's creation to the last one's end.
        gang.created(scene)
    gang.count(scene)
    gang.artifact(pods, scene.draft)
    gang.complete_progress(scene.draft)
    message = "all pods succeeded"
    if scene.job.spec.output is not None and "artifact" not in scene.draft.wire:
        message += ", but node 0 named no artifact: is the trainer image the one of this release?"
    return _end(scene, scene.draft.succeed(message), Notice("Normal", Reason.SUCCEEDED, message))


def _suspended(scene: Scene) -> Plan | None:
    if not scene.job.spec.run_policy.suspend:
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
        draft.unset("specDigest")
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
    """Pods of an attempt that the status does not know of: the job that we look at is not the newest."""
    if all(pod.attempt <= scene.draft.run.attempt for pod in scene.pods):
        return None
    newest = max(pod.attempt for pod in scene.pods)
    scene.draft.wire["attempt"] = newest
    return Plan(status=scene.draft.done(), persist_first=True, verify_job=True)


def _leftovers(scene: Scene) -> Plan | None:
    if not cleanup.in_the_way(scene.pods, scene.draft.run.attempt):
        return None
    old = _earlier_attempts(scene)
    return Plan(deletes=old.deletes, requeue_after=old.wait)


def _predecessor(scene: Scene) -> Plan | None:
    """A job of this name was deleted, and its pods are still saving their checkpoint, or are ghosts on a lost node."""
    alive = [pod for pod in scene.predecessors if not pod.ended or pod.name in scene.missing_names]
    if scene.draft.run.attempt_time is not None or not alive:
        return None
    message = f"waiting for pods of a deleted job of the same name to go: {alive[0].name}"
    gang.refused(scene.draft, Reason.PODS_PENDING, message)
    # Only the garbage collector says that they are to go: until it does, they may belong to a job that was orphaned.
    ghosts = cleanup.clean([pod for pod in alive if pod.deleting], scene.grace, scene.now)
    return Plan(
        status=scene.draft.done(),
        deletes=ghosts.deletes,
        requeue_after=soonest(ghosts.wait, _next_deadline(scene)),
    )


def _failed(scene: Scene) -> Plan | None:
    failure = _loss(scene)
    if failure is None:
        return None
    if scene.changed:
        scene.draft.record_failure(failure)
        message = f"{describe(failure)}; no restart, since the spec is not the one the pods were made from"
        draft = scene.draft.fail(Reason.SPEC_CHANGED, message)
    else:
        draft = restart_or_fail(scene.job.spec.failure_policy, failure, scene.draft)
    unseen = failure.reason == Reason.POD_DELETED and not failure.node
    absent = tuple(scene.missing_names) if unseen else ()
    if draft.run.finished:
        words = next(c for c in draft.wire["conditions"] if c["type"] == "Failed")
        ending = _end(scene, draft, Notice("Warning", words["reason"], words["message"]))
        return replace(ending, verify_absent=absent)
    old = _earlier_attempts(scene)
    return Plan(
        status=draft.done(),
        persist_first=True,
        verify_absent=absent,
        deletes=old.deletes,
        notices=(Notice("Warning", Reason.RESTARTING, describe(failure)),),
    )


def _loss(scene: Scene) -> Failure | None:
    """A pod of the current attempt that failed, or one that is gone although it was created."""
    failure = first_failure(scene.current)
    if failure is not None or scene.draft.run.attempt_time is None:
        return failure
    missing = scene.missing_names
    if not missing:
        return None
    return Failure(missing[0], "", "", None, "", Reason.POD_DELETED, "the pod is gone", scene.now)


def _overdue(scene: Scene) -> Plan | None:
    policy, run = scene.job.spec.run_policy, scene.draft.run
    active = deadlines.active_seconds_left(policy, run, scene.now)
    startup = deadlines.startup_seconds_left(policy, run, scene.now)
    if active is not None and active <= 0:
        reason = Reason.DEADLINE_EXCEEDED
        message = f"the job ran for activeDeadlineSeconds, {policy.active_deadline_seconds} s"
    elif startup is not None and startup <= 0 and not scene.all_started:
        reason = Reason.STARTUP_DEADLINE_EXCEEDED
        message = f"not all pods were running after {policy.startup_deadline_seconds} s{gang.why_not_running(scene)}"
    else:
        return None
    return _end(scene, scene.draft.fail(reason, message), Notice("Warning", reason, message))


def _incomplete(scene: Scene) -> Plan | None:
    """Create what the attempt lacks. ConfigMap and Service go first: a pod that is there means that they are, too."""
    job, run = scene.job, scene.draft.run
    if run.attempt_time is not None:
        return None
    if scene.changed:
        return Plan(status=gang.spec_changed(scene.draft).done(), notices=(gang.SPEC_CHANGED_NOTICE,))
    writes = []
    if not scene.current:
        again = run.attempt > 0
        writes.append(Write(CONFIGMAPS, render.config_map(job, scene.platform), replace=again))
        writes.append(Write(SERVICES, render.service(job, run.attempt), replace=again))
    there = {pod.index for pod in scene.current}
    writes += [
        Write(PODS, render.pod(job, index, run.attempt, scene.platform))
        for index in range(job.spec.num_nodes)
        if index not in there
    ]
    notices = (Notice("Normal", Reason.RESUMED, "the job was resumed"),) if run.suspended else ()
    gang.created(scene)
    old = _earlier_attempts(scene)
    return Plan(
        status=scene.draft.done(),
        deletes=old.deletes,
        writes=tuple(writes),
        notices=notices,
        requeue_after=soonest(_next_deadline(scene), old.wait),
    )


def _going_on(scene: Scene) -> Plan:
    gang.count(scene)
    notices: list[Notice] = []
    if scene.all_started:
        notices = gang.running(scene.draft)
    elif scene.draft.run.running_time is None:
        notices = gang.waiting(scene.draft, scene.obstacle)
    if scene.changed:
        gang.spec_changed(scene.draft)
        notices.append(gang.SPEC_CHANGED_NOTICE)
    old = _earlier_attempts(scene)
    return Plan(
        status=scene.draft.done(),
        deletes=old.deletes,
        notices=tuple(notices),
        requeue_after=soonest(_next_deadline(scene), old.wait),
    )


_RULES: tuple[Callable[[Scene], Plan | None], ...] = (
    _succeeded,
    _suspended,
    _behind,
    _leftovers,
    _failed,
    _overdue,
    _predecessor,
    _incomplete,
    _going_on,
)


def _end(scene: Scene, draft: Draft, notice: Notice) -> Plan:
    doomed = _end_of(scene)
    gang.count(scene, going={delete.uid for delete in doomed.deletes})
    return Plan(
        status=draft.done(), persist_first=True, deletes=doomed.deletes, notices=(notice,), requeue_after=doomed.wait
    )


def _end_of(scene: Scene) -> cleanup.Cleaning:
    return cleanup.after_finish(scene.job.spec.run_policy.clean_pod_policy, scene.pods, scene.grace, scene.now)


def _earlier_attempts(scene: Scene) -> cleanup.Cleaning:
    run = scene.draft.run
    return cleanup.earlier_attempts(scene.pods, run.attempt, run.failed_pod, scene.grace, scene.now)


def _next_deadline(scene: Scene) -> float | None:
    policy, run = scene.job.spec.run_policy, scene.draft.run
    return soonest(
        deadlines.active_seconds_left(policy, run, scene.now), deadlines.startup_seconds_left(policy, run, scene.now)
    )
