"""What to do with a TrainingJob now: (object, pods, progress, now) -> Plan. Pure; called by reconcile.py.

Each rule looks at the job in turn, and the first that applies decides. The order is the policy: an end is final, a spec
that makes no sense touches nothing, success counts even when it comes with a suspension or too late, suspension goes
before failure, and no gang starts while another may still run.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api.common import Reason
from slipway.api.trainingjob import FIXED_FIELDS, FIXED_WHILE_RUNNING, TrainingJobSpec, spec_problems
from slipway.job.observed import Failure, PodState, first_failure, observe_pod
from slipway.job.plan import Notice, Plan, Write, soonest
from slipway.job.policy import cleanup, deadlines, ttl
from slipway.job.policy.restart import restart_or_fail
from slipway.job.status import Draft, describe
from slipway.runtime.resource import CONFIGMAPS, PODS, SERVICES
from slipway.trainingjob import pods as render
from slipway.trainingjob import status as gang
from slipway.trainingjob.job import Platform, TrainingJob, identify
from slipway.trainingjob.launchers import launcher_of


@dataclass(frozen=True)
class Scene:
    """One look at a job."""

    job: TrainingJob
    pods: tuple[PodState, ...]
    draft: Draft
    platform: Platform
    now: datetime

    @property
    def current(self) -> list[PodState]:
        """Pods of the current attempt by index."""
        return sorted((pod for pod in self.pods if pod.attempt == self.draft.run.attempt), key=lambda pod: pod.index)

    @property
    def grace(self) -> int:
        """How long a pod may outlast its deletion."""
        return self.job.spec.failure_policy.node_lost_grace_seconds


def plan(
    obj: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    progress: Mapping[str, Any] | None,
    platform: Platform,
    now: datetime,
) -> Plan:
    """Decide. `children` are the job's pods by owner UID; `progress` is the newest report, or None."""
    metadata = obj["metadata"]
    draft = Draft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if metadata.get("deletionTimestamp") or (obj.get("spec") or {}).get("runPolicy", {}).get("managedBy"):
        return Plan()
    if spec is None:
        return _invalid(draft, problems)
    job = identify(obj, spec)
    if problems := launcher_of(job).problems(job):
        return _invalid(draft, problems)
    scene = Scene(job, tuple(observe_pod(pod, now) for pod in children), draft, platform, now)
    if draft.run.finished:
        return _finished(scene)
    if progress:
        draft.wire["progress"] = {**(draft.wire.get("progress") or {}), **progress}
    for rule in (_succeeded, _suspended, _changed, _leftovers, _failed, _overdue, _incomplete):
        decision = rule(scene)
        if decision is not None:
            return decision
    return _going_on(scene)


def _invalid(draft: Draft, problems: Sequence[str]) -> Plan:
    if draft.run.finished:
        return Plan()
    message = "; ".join(problems)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=(notice,))


def _finished(scene: Scene) -> Plan:
    policy, run = scene.job.spec.run_policy, scene.draft.run
    remaining = ttl.seconds_to_live(policy, run, scene.now)
    if remaining is not None and remaining <= 0:
        return Plan(delete_job=True)
    doomed = cleanup.after_finish(policy.clean_pod_policy, scene.pods, scene.grace, scene.now)
    going = [pod for pod in scene.pods if not pod.ended]
    return Plan(deletes=doomed, requeue_after=soonest(remaining, cleanup.overdue_in(going, scene.grace, scene.now)))


def _suspended(scene: Scene) -> Plan | None:
    if not scene.job.spec.run_policy.suspend:
        return None
    draft, run = scene.draft, scene.draft.run
    notices: tuple[Notice, ...] = ()
    if not run.suspended:
        message = "suspended: the pods get their grace period to save a checkpoint"
        notices = (Notice("Normal", Reason.SUSPENDED, message),)
        draft.condition("Suspended", "True", Reason.SUSPENDED, message).condition(
            "Running", "False", Reason.SUSPENDED, message
        )
        draft.condition("Ready", "Unknown", Reason.SUSPENDED, message).without("Reconciling", "Restarting", "Stalled")
        if scene.pods:
            draft.next_attempt()
        draft.unset("specDigest")
    doomed = cleanup.earlier_attempts(scene.pods, scene.draft.run.attempt, run.failed_pod, scene.grace, scene.now)
    wait = cleanup.overdue_in(scene.pods, scene.grace, scene.now)
    return Plan(
        status=draft.done(), persist_first=not run.suspended, deletes=doomed, notices=notices, requeue_after=wait
    )


def _changed(scene: Scene) -> Plan | None:
    """Servers without CEL let a running job's spec be edited: its pods are left alone, the status says what to do."""
    made_from = scene.draft.wire.get("specDigest")
    if made_from is None or made_from == spec_digest(scene.job.spec):
        return None
    message = (
        "only runPolicy and failurePolicy can be changed while the job runs: "
        "take the change back, or delete the job and create it again"
    )
    failure = _loss(scene)
    if failure is not None:
        scene.draft.record_failure(failure)
        draft = scene.draft.fail(
            Reason.SPEC_CHANGED,
            f"{describe(failure)}; no restart, since the spec is not the one the pods were made from",
        )
        return Plan(status=draft.done(), persist_first=True, deletes=_end_of(scene))
    notice = Notice("Warning", Reason.SPEC_CHANGED, message)
    return Plan(
        status=scene.draft.stalled(Reason.SPEC_CHANGED, message).done(),
        notices=(notice,),
        requeue_after=_next_deadline(scene),
    )


def _leftovers(scene: Scene) -> Plan | None:
    run = scene.draft.run
    if not cleanup.in_the_way(scene.pods, run.attempt):
        return None
    doomed = cleanup.earlier_attempts(scene.pods, run.attempt, run.failed_pod, scene.grace, scene.now)
    old = [pod for pod in scene.pods if pod.attempt != run.attempt]
    return Plan(deletes=doomed, requeue_after=cleanup.overdue_in(old, scene.grace, scene.now))


def _failed(scene: Scene) -> Plan | None:
    failure = _loss(scene)
    if failure is None:
        return None
    draft = restart_or_fail(scene.job.spec.failure_policy, failure, scene.draft)
    ended = draft.run.finished
    reason = next(c["reason"] for c in draft.wire["conditions"] if c["type"] == ("Failed" if ended else "Restarting"))
    keep = failure.pod
    deletes = (
        _end_of(scene)
        if ended
        else cleanup.earlier_attempts(scene.pods, draft.run.attempt, keep, scene.grace, scene.now)
    )
    absent = tuple(_missing_names(scene)) if failure.reason == Reason.POD_DELETED and not failure.node else ()
    return Plan(
        status=draft.done(),
        persist_first=True,
        verify_absent=absent,
        deletes=deletes,
        notices=(Notice("Warning", reason, describe(failure)),),
    )


def _loss(scene: Scene) -> Failure | None:
    """A pod of the current attempt that failed, or one that is gone although it was created."""
    failure = first_failure(scene.current)
    if failure is not None or scene.draft.run.attempt_time is None:
        return failure
    missing = _missing_names(scene)
    if not missing:
        return None
    return Failure(missing[0], "", "", None, "", Reason.POD_DELETED, "the pod is gone", scene.now)


def _overdue(scene: Scene) -> Plan | None:
    policy, run = scene.job.spec.run_policy, scene.draft.run
    active = deadlines.active_seconds_left(policy, run, scene.now)
    startup = deadlines.startup_seconds_left(policy, run, scene.now)
    if active is not None and active <= 0:
        reason, message = (
            Reason.DEADLINE_EXCEEDED,
            f"the job ran for activeDeadlineSeconds, {policy.active_deadline_seconds} s",
        )
    elif startup is not None and startup <= 0 and not _all_started(scene):
        obstacle = next((pod.obstacle for pod in scene.current if pod.obstacle), None)
        why = f"; pod {obstacle.pod}: {obstacle.reason}: {obstacle.message}" if obstacle else ""
        reason, message = (
            Reason.STARTUP_DEADLINE_EXCEEDED,
            f"not all pods were running after {policy.startup_deadline_seconds} s{why}",
        )
    else:
        return None
    notices = (Notice("Warning", reason, message),)
    return Plan(
        status=scene.draft.fail(reason, message).done(), persist_first=True, deletes=_end_of(scene), notices=notices
    )


def _succeeded(scene: Scene) -> Plan | None:
    pods = scene.current
    if len(pods) < scene.job.spec.num_nodes or any(pod.phase != "Succeeded" for pod in pods):
        return None
    gang.count(scene.job, pods, scene.draft)
    gang.artifact(pods, scene.draft)
    gang.complete_progress(scene.draft)
    message = "all pods succeeded"
    if scene.job.spec.output is not None and "artifact" not in scene.draft.wire:
        message += ", but node 0 named no artifact: is the trainer image the one of this release?"
    return Plan(
        status=scene.draft.succeed(message).done(),
        deletes=_end_of(scene),
        notices=(Notice("Normal", Reason.SUCCEEDED, message),),
    )


def _incomplete(scene: Scene) -> Plan | None:
    """Create what the attempt lacks. ConfigMap and Service go first: a pod that is there means that they are, too."""
    job, run = scene.job, scene.draft.run
    if run.attempt_time is not None:
        return None
    there = {pod.index for pod in scene.current}
    writes = []
    if not there:
        again = run.attempt > 0
        writes.append(Write(CONFIGMAPS, render.config_map(job, scene.platform), replace=again))
        writes.append(Write(SERVICES, render.service(job, run.attempt), replace=again))
    writes += [
        Write(PODS, render.pod(job, index, run.attempt, scene.platform))
        for index in range(job.spec.num_nodes)
        if index not in there
    ]
    notices = (Notice("Normal", Reason.RESUMED, "the job was resumed"),) if run.suspended else ()
    gang.created(scene.draft)
    scene.draft.wire["specDigest"] = spec_digest(job.spec)
    scene.draft.wire["nodes"] = job.spec.num_nodes
    scene.draft.wire["replicaStatuses"] = {
        "desired": job.spec.num_nodes,
        "active": job.spec.num_nodes,
        "ready": 0,
        "succeeded": 0,
        "failed": 0,
    }
    return Plan(status=scene.draft.done(), writes=tuple(writes), notices=notices, requeue_after=_next_deadline(scene))


def _going_on(scene: Scene) -> Plan:
    gang.count(scene.job, scene.current, scene.draft)
    notices: list[Notice] = []
    if _all_started(scene):
        notices = gang.running(scene.draft)
    elif scene.draft.run.running_time is None:
        notices = gang.waiting(scene.draft, next((pod.obstacle for pod in scene.current if pod.obstacle), None))
    return Plan(status=scene.draft.done(), notices=tuple(notices), requeue_after=_next_deadline(scene))


def _all_started(scene: Scene) -> bool:
    pods = scene.current
    return len(pods) == scene.job.spec.num_nodes and all(pod.phase in {"Running", "Succeeded"} for pod in pods)


def _missing_names(scene: Scene) -> list[str]:
    there = {pod.index for pod in scene.current}
    return [
        scene.job.pod(index, scene.draft.run.attempt) for index in range(scene.job.spec.num_nodes) if index not in there
    ]


def _end_of(scene: Scene) -> tuple[Any, ...]:
    return cleanup.after_finish(scene.job.spec.run_policy.clean_pod_policy, scene.pods, scene.grace, scene.now)


def _next_deadline(scene: Scene) -> float | None:
    policy, run = scene.job.spec.run_policy, scene.draft.run
    return soonest(
        deadlines.active_seconds_left(policy, run, scene.now), deadlines.startup_seconds_left(policy, run, scene.now)
    )


def spec_digest(spec: TrainingJobSpec) -> str:
    """Of all that the pods are made from; editing the run and failure policies leaves it as it is."""
    wire = spec.wire()
    made_from = {field: wire.get(field) for field in (*FIXED_FIELDS, *FIXED_WHILE_RUNNING)}
    return "sha256:" + hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
