"""Plan for a TrainingJob now: (object, pods, progress, now) -> Plan. Pure; called by reconcile.py.

The life of a gang is slipway.gang.lifecycle; here is what is a TrainingJob's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.training.runtime_ref import RuntimeKind, RuntimeRef
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from slipway.gang import lifecycle
from slipway.gang.policy.elastic import Nodes
from slipway.gang.state import GangState, Hold
from slipway.reconcile.plan import Notice, Plan
from slipway.reconcile.pods.observed import PodState, observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.trainingjob import base_model, launchers, runtime, status, strategy
from slipway.trainingjob.gang import TrainingGang, rules_of
from slipway.trainingjob.job import Cluster, Platform, TrainingJob, identify
from slipway.trainingjob.pods import CONTAINER

# Nodes may yet appear that say how much memory their GPUs have.
AGAIN_SECONDS = 30.0
NOWHERE = Cluster()
# Of a condition about a runtime.
MOST_WORDS = 4096


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
    """Decide by the job's pods (`children`), those of earlier jobs of its name, and its newest report or None."""
    metadata = obj["metadata"]
    if lifecycle.left_alone(obj):
        return Plan()
    draft = StatusDraft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return lifecycle.invalid(draft, problems)
    settled, cluster, copied = _with_runtime(spec, draft, cluster)
    spec = settled.spec
    # Without its runtime it is another job: nothing is decided for that one.
    whole = spec.runtime_ref is None or "runtime" in draft.fields
    decided = _decided_first(settled, draft, cluster, copied, whole)
    if decided is not None:
        return decided
    based = base_model.settle(spec, metadata["name"], draft, cluster.source)
    told = _based_on(based, draft)
    if told is not None:
        return told
    spec, cluster = based.spec, cluster if based.hold is None else replace(cluster, hold=based.hold)
    job = identify(obj, spec, strategy.chosen(draft.fields), settled.node_volumes)
    if whole and (problems := launchers.problems(job)):
        return lifecycle.invalid(draft, problems)
    state = _scene(job, platform, children, predecessors, draft, cluster)
    ended = draft.run.finished
    decision = lifecycle.decide(state, progress)
    if not ended:
        status.scale(state, creating=bool(decision.writes))
    return decision


def _decided_first(
    settled: runtime.Settled, draft: StatusDraft, cluster: Cluster, copied: dict[str, Any] | None, whole: bool
) -> Plan | None:
    """Decisions persisted before anything else is looked at, and kept: the runtime, then the strategy."""
    spec = settled.spec
    if copied is not None:
        draft.fields["runtime"] = copied
        words = f"goes by {copied['kind']} {copied['name']} as it is now"
        return Plan(status=draft.progressing(Reason.PENDING, words).done(), persist_first=True)
    if settled.problems:
        return lifecycle.invalid(draft, settled.problems)
    if not whole or spec.strategy is None or "strategy" in draft.fields or draft.run.finished:
        return None
    found, problem = strategy.choose(spec, cluster.gpu_bytes)
    if found is None:
        return replace(lifecycle.invalid(draft, [problem]), requeue_after=AGAIN_SECONDS)
    draft.fields["strategy"] = found.wire()
    return Plan(status=draft.progressing(Reason.PENDING, found.reason).done(), persist_first=True)


def _based_on(based: base_model.Based, draft: StatusDraft) -> Plan | None:
    """Decisions on the model that is tuned further: what was pinned is persisted before anything is made of it."""
    if based.failed is not None:
        reason, words = based.failed.reason, based.failed.message
        return Plan(status=draft.fail(reason, words).done(), notices=(Notice("Warning", reason, words),))
    if based.pin is None:
        return None
    draft.fields["model"] = dict(based.pin)
    words = f"tunes what {based.pin['source']} made" if "uri" in based.pin else f"waits for {based.pin['source']}"
    return Plan(status=draft.progressing(Reason.PENDING, words).done(), persist_first=True)


def _with_runtime(
    spec: TrainingJobSpec, draft: StatusDraft, cluster: Cluster
) -> tuple[runtime.Settled, Cluster, dict[str, Any] | None]:
    """The job as its runtime makes it, and the copy of that to persist first; a job whose runtime is not to be had is
    held.
    """
    settled = runtime.settle(spec, draft.fields.get("runtime"))
    if spec.runtime_ref is None or "runtime" in draft.fields or draft.run.finished:
        return settled, cluster, None
    copied, problems = _look_up(spec.runtime_ref, cluster.runtime)
    settled = runtime.settle(spec, copied)
    if copied is None or settled.problems:
        held = replace(cluster, hold=_without_runtime([*problems, *settled.problems]))
        return runtime.Settled(spec), held, None
    # What is suspended before it has started takes the runtime as it is when it starts.
    return settled, cluster, None if spec.run_policy.suspend else copied


def _look_up(ref: RuntimeRef, found: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Copy of the runtime that a job names, or None and what keeps it from being copied."""
    if found is None:
        where = " in the job's namespace" if ref.kind is RuntimeKind.TRAINING_RUNTIME else ""
        return None, [f"there is no {ref.kind} {ref.name}{where}: create it; the job waits for it"]
    return runtime.read(ref, dict(found))


def _without_runtime(problems: Sequence[str]) -> Hold:
    return Hold(0, 0, "; ".join(problems)[:MOST_WORDS], reason=Reason.WAITING_FOR_RUNTIME)


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
