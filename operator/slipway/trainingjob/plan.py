"""Plan for a TrainingJob now: (object, pods, progress, now) -> Plan. Pure; called by reconcile.py.

The life of a gang is slipway.gang.lifecycle; here is what is a TrainingJob's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.training.trainingjob import spec_problems
from slipway.gang import lifecycle
from slipway.gang.policy.elastic import Nodes
from slipway.gang.state import GangState
from slipway.reconcile.plan import Plan
from slipway.reconcile.pods.observed import PodState, observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.trainingjob import launchers, status, strategy
from slipway.trainingjob.gang import TrainingGang, rules_of
from slipway.trainingjob.job import Cluster, Platform, TrainingJob, identify
from slipway.trainingjob.pods import CONTAINER

# Nodes may yet appear that say how much memory their GPUs have.
AGAIN_SECONDS = 30.0
NOWHERE = Cluster()


def plan(
    obj: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    platform: Platform,
    now: datetime,
    *,
    predecessors: Sequence[Mapping[str, Any]] = (),
    progress: Mapping[str, Any] | None = None,
    cluster: Cluster = NOWHERE,
) -> Plan:
    """Decide. `children` are the job's pods by owner UID, `predecessors` those of earlier jobs of the same name;
    `progress` is the newest report, or None.
    """
    metadata = obj["metadata"]
    if lifecycle.left_alone(obj):
        return Plan()
    draft = StatusDraft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return lifecycle.invalid(draft, problems)
    if spec.strategy is not None and "strategy" not in draft.fields and not draft.run.finished:
        found, problem = strategy.choose(spec, cluster.gpu_bytes)
        if found is None:
            return replace(lifecycle.invalid(draft, [problem]), requeue_after=AGAIN_SECONDS)
        draft.fields["strategy"] = found.wire()
        return Plan(status=draft.progressing(Reason.PENDING, found.reason).done(), persist_first=True)
    job = identify(obj, spec, strategy.chosen(draft.fields))
    if problems := launchers.problems(job):
        return lifecycle.invalid(draft, problems)
    state = _scene(job, platform, children, predecessors, draft, cluster)
    ended = draft.run.finished
    decision = lifecycle.decide(state, progress)
    if not ended:
        status.scale(state, creating=bool(decision.writes))
    return decision


def _scene(
    job: TrainingJob,
    platform: Platform,
    children: Sequence[Mapping[str, Any]],
    predecessors: Sequence[Mapping[str, Any]],
    draft: StatusDraft,
    cluster: Cluster,
) -> GangState:
    pods = tuple(observe_pod(pod, draft.now, CONTAINER) for pod in children)
    earlier = tuple(observe_pod(pod, draft.now, CONTAINER) for pod in predecessors)
    if job.spec.elastic_policy is not None and _begins(draft, pods):
        draft.fields["elastic"] = Nodes.first(job.spec.num_nodes).wire()
    return GangState(
        TrainingGang(job, platform),
        pods,
        earlier,
        draft,
        draft.now,
        rules_of(job.spec, platform.listening, lets_in=cluster.lets_in),
        cluster.hold,
        gives_way=cluster.gives_way,
        deleted_pods=tuple(observe_pod(pod, draft.now, CONTAINER) for pod in cluster.deleted_pods),
    )


def _begins(draft: StatusDraft, pods: Sequence[PodState]) -> bool:
    """Tell whether the size is still the spec's to say: once there are pods, it is status.elastic's, also of those that
    failed before all had been created.
    """
    run = draft.run
    if run.finished or "elastic" not in draft.fields:
        return not run.finished
    return run.attempt_time is None and not any(pod.attempt == run.attempt for pod in pods)
