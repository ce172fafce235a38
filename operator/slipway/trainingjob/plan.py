"""What to do with a TrainingJob now: (object, pods, progress, now) -> Plan. Pure; called by reconcile.py.

The life of a gang is slipway.job.lifecycle; here is what is a TrainingJob's own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slipway.api.trainingjob import spec_problems
from slipway.job import lifecycle
from slipway.job.observed import observe_pod
from slipway.job.plan import Plan
from slipway.job.policy.elastic import Nodes
from slipway.job.scene import Hold, Scene
from slipway.job.status import Draft
from slipway.trainingjob import launchers, status
from slipway.trainingjob.gang import TrainingGang, rules_of
from slipway.trainingjob.job import Platform, identify


def plan(
    obj: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    platform: Platform,
    now: datetime,
    *,
    predecessors: Sequence[Mapping[str, Any]] = (),
    progress: Mapping[str, Any] | None = None,
    hold: Hold | None = None,
) -> Plan:
    """Decide. `children` are the job's pods by owner UID, `predecessors` those of earlier jobs of the same name;
    `progress` is the newest report, or None; `hold` is why the gang must not be created yet.
    """
    metadata = obj["metadata"]
    if lifecycle.left_alone(obj):
        return Plan()
    draft = Draft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return lifecycle.invalid(draft, problems)
    job = identify(obj, spec)
    if problems := launchers.problems(job):
        return lifecycle.invalid(draft, problems)
    pods = tuple(observe_pod(pod, now) for pod in children)
    earlier = tuple(observe_pod(pod, now) for pod in predecessors)
    elastic = spec.elastic_policy is not None and not draft.run.finished
    if elastic and (draft.run.attempt_time is None or "elastic" not in draft.wire):
        draft.wire["elastic"] = Nodes.first(spec.num_nodes).wire()
    scene = Scene(TrainingGang(job, platform), pods, earlier, draft, now, rules_of(spec, platform.listening), hold)
    ended = draft.run.finished
    decision = lifecycle.decide(scene, progress)
    if not ended:
        status.scale(scene, creating=bool(decision.writes))
    return decision
