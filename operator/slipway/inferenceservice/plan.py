"""Plan for an InferenceService now: (object, what is around it, now) -> Plan. Pure; called by reconcile.py.

A revision is a Deployment named by the hash of what its pods are made from. `replace` and `canary` say how many pods
each of them shall have; here that becomes writes, and whatever else is missing is made.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.autoscaling import ScaleMetric
from slipway.api.serving.generation_memory import DoesNotFit
from slipway.api.serving.inferenceservice import TransitionStatus, spec_problems
from slipway.inferenceservice import language, status
from slipway.inferenceservice.activator import activator
from slipway.inferenceservice.autoscale import Size
from slipway.inferenceservice.children import disruption_budget, manifests
from slipway.inferenceservice.children.engine_job import engine_job, tell
from slipway.inferenceservice.engine_build import BuildPhase
from slipway.inferenceservice.observed import SURGED, Revision, observe_revision, revision_of
from slipway.inferenceservice.policy.evacuation import Evacuation
from slipway.inferenceservice.rollout import evacuation as evacuating
from slipway.inferenceservice.rollout import http_route, mirror
from slipway.inferenceservice.rollout.canary import canary
from slipway.inferenceservice.rollout.replace import replace
from slipway.inferenceservice.service import DEPLOYMENTS, JOBS, Platform, identify
from slipway.inferenceservice.source import resolve
from slipway.inferenceservice.state import Observed, RolloutPlan, ServiceState
from slipway.inferenceservice.telemetry.traffic_history import metrics_pause
from slipway.reconcile.plan import Delete, Notice, Patch, Plan, Write, soonest
from slipway.reconcile.source import Resolution
from slipway.reconcile.status import StatusDraft
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES, uid_of


def plan(obj: Mapping[str, Any], observed: Observed, size: Size, platform: Platform, now: datetime) -> Plan:
    """Decide. `size` is ignored where the spec makes no sense."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return Plan()
    draft = StatusDraft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return _invalid(draft, problems)
    service, before = identify(obj, spec), obj.get("status") or {}
    resolution = resolve(service, before, observed.source)
    if resolution.pinned is None:
        return _waiting(draft, resolution)
    made = language.adapted(service, resolution.pinned, before, observed.adapter_jobs)
    if made.waits is not None:
        return _waiting(draft, made.waits)
    draft.condition("SourceReady", "True", resolution.reason, resolution.message)
    draft.fields["model"] = resolution.pinned.wire()
    _pin_adapters(draft, made)
    service = made.service
    try:
        memory = language.planned(service, resolution.pinned)
    except DoesNotFit as error:
        return _waiting(draft, Resolution(None, Reason.DOES_NOT_FIT, str(error), final=True))
    revisions = tuple(observe_revision(deployment) for deployment in observed.deployments)
    state = ServiceState(service, resolution.pinned, revisions, observed, size, draft, platform)
    status.addresses(service, draft)
    status.count(state)
    _sized(state)
    _described(state)
    language.tell(memory, state.newest, draft)
    status.metrics(state, asked=metrics_pause(obj) is not None)
    activator.tell(state)
    return _carried_out(state, canary(state) or replace(state))


def _invalid(draft: StatusDraft, problems: Sequence[str]) -> Plan:
    message = "; ".join(problems)
    status.transition(draft, TransitionStatus.INVALID_SPEC)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=status.once(draft, notice))


def _waiting(draft: StatusDraft, resolution: Resolution) -> Plan:
    if resolution.reason != Reason.DOES_NOT_FIT:
        draft.condition("SourceReady", "False", resolution.reason, resolution.message)
    status.transition(draft, TransitionStatus.IN_PROGRESS)
    if resolution.final:
        draft.stalled(resolution.reason, resolution.message)
        notice = Notice("Warning", resolution.reason, resolution.message)
        return Plan(status=draft.done(), notices=status.once(draft, notice))
    return Plan(status=draft.progressing(resolution.reason, resolution.message).done())


def _pin_adapters(draft: StatusDraft, made: language.Adapted) -> None:
    if made.pins:
        draft.fields["adapters"] = [dict(pin) for pin in made.pins]
    else:
        draft.unset("adapters")


def _sized(state: ServiceState) -> None:
    if state.size.wire is None:
        state.draft.unset("autoScaling")
    else:
        state.draft.fields["autoScaling"] = {**state.size.wire, **_unscaled(state)}
    if state.service.spec.rollout.canary_plan is None:
        state.draft.unset("canaryStatuses")


def _unscaled(state: ServiceState) -> dict[str, str]:
    """Message for status.autoScaling where the CPU was to decide, and nobody is there who watches it; else nothing."""
    scaling = state.service.spec.auto_scaling
    if scaling is None or scaling.scale_metric is not ScaleMetric.CPU or state.platform.autoscalers is not None:
        return {}
    return {"message": "this cluster serves no HorizontalPodAutoscaler: the replicas stay as they are"}


def _described(state: ServiceState) -> None:
    model = state.observed.model
    if model is not None and any(r.revision == model["revision"] for r in state.revisions):
        state.draft.fields["servedModel"] = dict(model)


def _carried_out(state: ServiceState, rollout: RolloutPlan) -> Plan:
    told = tell(state) if state.newest in rollout.replicas else ()
    http_route.tell(state)
    mirror.tell(state)
    evacuation = evacuating.decide(state, _staying(state, rollout))
    told = (*told, *evacuating.tell(state, evacuation))
    wanted = state.draft.done()
    # What names the artifact, the size or the canary's stand is decided before anything is made from it.
    decided = any(state.draft.old.get(key) != wanted.get(key) for key in ("model", "adapters", "autoScaling"))
    leaving = [revision for revision in rollout.retire if http_route.may_retire(state, revision.revision)]
    retired = {revision.revision for revision in leaving}
    return Plan(
        status=wanted,
        persist_first=rollout.persist or decided or _outlived_build(state, rollout) is not None,
        deletes=(
            *(delete for old in leaving for delete in _retire(state, old)),
            *_unwanted(state),
            *activator.deletes(state),
            *disruption_budget.deletes(state, evacuation),
            *_needless_builds(state, rollout),
            *_outlived_pods(state, rollout),
            *http_route.deletes(state),
        ),
        patches=(
            *activator.patches(state),
            *mirror.patches(state),
            *disruption_budget.patches(state, evacuation),
            *(
                Patch(DEPLOYMENTS, known.name, known.uid, changes)
                for known in state.revisions
                if not known.deleting and known.revision not in retired
                if (changes := _changes(state, rollout, evacuation, known))
            ),
        ),
        writes=_missing(state, rollout, evacuation),
        notices=(*rollout.notices, *told),
        requeue_after=soonest(
            rollout.requeue_after, evacuation.wait, state.build.wait if state.build is not None else None
        ),
    )


def _changes(
    state: ServiceState, rollout: RolloutPlan, evacuation: Evacuation, known: Revision
) -> dict[str, dict[str, Any]]:
    """Changes to a Deployment that is there: its size, and once its engine is built, pods that load it."""
    body: dict[str, dict[str, Any]] = {}
    replicas, surged = rollout.replicas.get(known.revision, known.wanted), known.revision == evacuation.revision
    if (known.wanted, known.surged) != (replicas, surged):
        body["spec"] = {"replicas": replicas + surged}
    if known.surged != surged:
        body["metadata"] = {"annotations": {SURGED: "true" if surged else None}}
    if known.revision == state.newest and not known.engine and _built(state):
        template = {"metadata": {"annotations": dict(manifests.ENGINE_THERE)}}
        body["spec"] = {**body.get("spec", {}), "template": template}
    return body


def _staying(state: ServiceState, rollout: RolloutPlan) -> dict[str, int]:
    """Pods wanted of the revisions that are not about to go."""
    gone = {revision.revision for revision in rollout.retire}
    known = {r.revision: rollout.replicas.get(r.revision, r.wanted) for r in state.revisions if not r.deleting}
    return {revision: replicas for revision, replicas in known.items() if revision not in gone}


def _built(state: ServiceState) -> bool:
    return state.build is not None and state.build.phase is BuildPhase.BUILT


def _missing(state: ServiceState, rollout: RolloutPlan, evacuation: Evacuation) -> tuple[Write, ...]:
    """Writes of the objects that there should be and are not."""
    service, platform, there = state.service, state.platform, state.observed.children
    writes = []
    if service.name not in there.get(SERVICES, {}):
        writes.append(Write(SERVICES, manifests.address(service)))
    writes += [*disruption_budget.writes(state, evacuation), *_autoscaler(state), *activator.writes(state)]
    writes += [*http_route.writes(state), *mirror.writes(state)]
    if state.newest not in rollout.replicas:
        return tuple(writes)
    if service.child(state.newest) not in there.get(CONFIGMAPS, {}):
        writes.append(Write(CONFIGMAPS, manifests.config_map(service, state.newest, state.model)))
    cache, build = service.spec.predictor.engine.cache, state.build
    if cache is not None and build is not None and build.job not in there.get(JOBS, {}) and not _built(state):
        writes.append(Write(JOBS, engine_job(state, cache)))
    if state.current is None and not state.held_back:
        replicas = rollout.replicas[state.newest]
        body = manifests.deployment(service, state.newest, state.model, replicas, platform, engine=_built(state))
        writes.append(Write(DEPLOYMENTS, body))
    return tuple(writes)


def _autoscaler(state: ServiceState) -> list[Write]:
    """HorizontalPodAutoscaler, where the CPU decides; brought up to date when the spec asks for something else."""
    scaling, autoscalers = state.service.spec.auto_scaling, state.platform.autoscalers
    if scaling is None or scaling.scale_metric is not ScaleMetric.CPU or autoscalers is None:
        return []
    body = manifests.autoscaler(state.service, scaling, autoscalers)
    known = state.observed.children.get(autoscalers, {}).get(state.service.name)
    mark = manifests.SPEC_HASH
    if (
        known is not None
        and (known["metadata"].get("annotations") or {}).get(mark) == body["metadata"]["annotations"][mark]
    ):
        return []
    return [Write(autoscalers, body, replace=True)]


def _unwanted(state: ServiceState) -> list[Delete]:
    """An autoscaler that is not asked for any more."""
    scaling, autoscalers = state.service.spec.auto_scaling, state.platform.autoscalers
    if autoscalers is None or (scaling is not None and scaling.scale_metric is ScaleMetric.CPU):
        return []
    known = state.observed.children.get(autoscalers, {}).get(state.service.name)
    return [Delete(autoscalers, state.service.name, uid_of(known))] if known is not None else []


def _retire(state: ServiceState, old: Revision) -> list[Delete]:
    """Deletes of a revision, whose pods drain: not ready first, then finishing what they have."""
    return [Delete(DEPLOYMENTS, old.name, old.uid), *_config_map(state, old.name)]


def _config_map(state: ServiceState, name: str) -> list[Delete]:
    """Delete of a ConfigMap if it is the service's own: a name that a label tells may be that of anybody's."""
    known = state.observed.children.get(CONFIGMAPS, {}).get(name)
    return [Delete(CONFIGMAPS, name, uid_of(known))] if known is not None else []


def _needless_builds(state: ServiceState, rollout: RolloutPlan) -> list[Delete]:
    """Deletes of build Jobs whose revisions shall have no pods.

    A revision that waited for its engine has a ConfigMap and no Deployment: the ConfigMap goes with the Job.
    """
    deletes = []
    deployed = {revision.revision for revision in state.revisions}
    for name, job in state.observed.children.get(JOBS, {}).items():
        revision = revision_of(job)
        if revision in rollout.replicas or job["metadata"].get("deletionTimestamp"):
            continue
        deletes.append(Delete(JOBS, name, uid_of(job)))
        if revision not in deployed:
            deletes += _config_map(state, state.service.child(revision))
    return deletes


def _outlived_build(state: ServiceState, rollout: RolloutPlan) -> Delete | None:
    """A Job whose engine is there and whose pod goes on, or fails, by what others put into it."""
    build = state.build
    job = state.observed.children.get(JOBS, {}).get(build.job) if build is not None and build.over else None
    if build is None or job is None or job["metadata"].get("deletionTimestamp") or state.newest not in rollout.replicas:
        return None
    return Delete(JOBS, build.job, uid_of(job))


def _outlived_pods(state: ServiceState, rollout: RolloutPlan) -> list[Delete]:
    job = _outlived_build(state, rollout)
    return [*([job] if job is not None else []), *(state.build.deletes if state.build is not None else ())]
