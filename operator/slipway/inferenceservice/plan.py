"""Plan for an InferenceService now: (object, what is around it, now) -> Plan. Pure; called by reconcile.py.

A revision is a Deployment named by the hash of what its pods are made from. `replace` and `canary` say how many pods
each of them shall have; here that becomes writes, and whatever else is missing is made.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.autoscaling import ScaleMetric
from slipway.api.serving.inferenceservice import TransitionStatus, spec_problems
from slipway.inferenceservice import status as words
from slipway.inferenceservice.activator import activator
from slipway.inferenceservice.autoscale import Size
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.children.engine_job import engine_job, tell
from slipway.inferenceservice.engine_build import BuildPhase
from slipway.inferenceservice.observed import Revision, observe_revision, revision_of
from slipway.inferenceservice.rollout import http_route, mirror
from slipway.inferenceservice.rollout.canary import canary
from slipway.inferenceservice.rollout.replace import replace
from slipway.inferenceservice.service import DEPLOYMENTS, JOBS, Platform, identify
from slipway.inferenceservice.source import resolve
from slipway.inferenceservice.state import Around, Course, Scene
from slipway.inferenceservice.telemetry.traffic_history import metrics_pause
from slipway.reconcile.plan import Delete, Notice, Patch, Plan, Write, soonest
from slipway.reconcile.source import Resolution
from slipway.reconcile.status import Draft
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES, uid_of


def plan(obj: Mapping[str, Any], around: Around, size: Size, platform: Platform, now: datetime) -> Plan:
    """Decide. `size` is ignored where the spec makes no sense."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return Plan()
    draft = Draft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return _invalid(draft, problems)
    service = identify(obj, spec)
    resolution = resolve(service, obj.get("status") or {}, around.source)
    if resolution.pinned is None:
        return _waiting(draft, resolution)
    draft.condition("SourceReady", "True", resolution.reason, resolution.message)
    draft.wire["model"] = resolution.pinned.wire()
    revisions = tuple(observe_revision(deployment) for deployment in around.deployments)
    scene = Scene(service, resolution.pinned, revisions, around, size, draft, platform)
    words.addresses(service, draft)
    words.count(scene)
    _sized(scene)
    _described(scene)
    words.metrics(scene, asked=metrics_pause(obj) is not None)
    activator.tell(scene)
    return _carried_out(scene, canary(scene) or replace(scene))


def _invalid(draft: Draft, problems: Sequence[str]) -> Plan:
    message = "; ".join(problems)
    words.transition(draft, TransitionStatus.INVALID_SPEC)
    notice = Notice("Warning", Reason.INVALID_SPEC, message)
    return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=words.once(draft, notice))


def _waiting(draft: Draft, resolution: Resolution) -> Plan:
    draft.condition("SourceReady", "False", resolution.reason, resolution.message)
    words.transition(draft, TransitionStatus.IN_PROGRESS)
    if resolution.final:
        draft.stalled(resolution.reason, resolution.message)
        notice = Notice("Warning", resolution.reason, resolution.message)
        return Plan(status=draft.done(), notices=words.once(draft, notice))
    return Plan(status=draft.progressing(resolution.reason, resolution.message).done())


def _sized(scene: Scene) -> None:
    if scene.size.wire is None:
        scene.draft.unset("autoScaling")
    else:
        scene.draft.wire["autoScaling"] = {**scene.size.wire, **_unscaled(scene)}
    if scene.service.spec.rollout.canary_plan is None:
        scene.draft.unset("canaryStatuses")


def _unscaled(scene: Scene) -> dict[str, str]:
    """Message for status.autoScaling where the CPU was to decide, and nobody is there who watches it; else nothing."""
    scaling = scene.service.spec.auto_scaling
    if scaling is None or scaling.scale_metric is not ScaleMetric.CPU or scene.platform.autoscalers is not None:
        return {}
    return {"message": "this cluster serves no HorizontalPodAutoscaler: the replicas stay as they are"}


def _described(scene: Scene) -> None:
    said = scene.around.model
    if said is not None and any(r.revision == said["revision"] for r in scene.revisions):
        scene.draft.wire["servedModel"] = dict(said)


def _carried_out(scene: Scene, course: Course) -> Plan:
    told = tell(scene) if scene.newest in course.replicas else ()
    http_route.tell(scene)
    mirror.tell(scene)
    status = scene.draft.done()
    # What names the artifact, the size or the canary's stand is decided before anything is made from it.
    decided = any(scene.draft.old.get(key) != status.get(key) for key in ("model", "autoScaling"))
    leaving = [revision for revision in course.retire if http_route.may_retire(scene, revision.revision)]
    retired = {revision.revision for revision in leaving}
    return Plan(
        status=status,
        persist_first=course.persist or decided or _outlived_build(scene, course) is not None,
        deletes=(
            *(delete for old in leaving for delete in _retire(scene, old)),
            *_unwanted(scene),
            *activator.deletes(scene),
            *_needless_builds(scene, course),
            *_outlived_pods(scene, course),
            *http_route.deletes(scene),
        ),
        patches=(
            *activator.patches(scene),
            *mirror.patches(scene),
            *(
                Patch(DEPLOYMENTS, known.name, known.uid, {"spec": changes})
                for known in scene.revisions
                if not known.deleting and known.revision not in retired and (changes := _changes(scene, course, known))
            ),
        ),
        writes=_missing(scene, course),
        notices=(*course.notices, *told),
        requeue_after=soonest(course.requeue_after, scene.build.wait if scene.build is not None else None),
    )


def _changes(scene: Scene, course: Course, known: Revision) -> dict[str, Any]:
    """Changes to the spec of a Deployment that is there: its size, and once its engine is built, pods that load it."""
    changes: dict[str, Any] = {}
    replicas = course.replicas.get(known.revision, known.wanted)
    if known.wanted != replicas:
        changes["replicas"] = replicas
    if known.revision == scene.newest and not known.engine and _built(scene):
        changes["template"] = {"metadata": {"annotations": dict(manifests.ENGINE_THERE)}}
    return changes


def _built(scene: Scene) -> bool:
    return scene.build is not None and scene.build.phase is BuildPhase.BUILT


def _missing(scene: Scene, course: Course) -> tuple[Write, ...]:
    """Writes of the objects that there should be and are not."""
    service, platform, there = scene.service, scene.platform, scene.around.children
    writes = []
    if service.name not in there.get(SERVICES, {}):
        writes.append(Write(SERVICES, manifests.address(service)))
    if platform.budgets is not None and service.name not in there.get(platform.budgets, {}):
        writes.append(Write(platform.budgets, manifests.budget(service, platform.budgets)))
    writes += [*_autoscaler(scene), *activator.writes(scene)]
    writes += [*http_route.writes(scene), *mirror.writes(scene)]
    if scene.newest not in course.replicas:
        return tuple(writes)
    if service.child(scene.newest) not in there.get(CONFIGMAPS, {}):
        writes.append(Write(CONFIGMAPS, manifests.config_map(service, scene.newest, scene.model)))
    cache, build = service.spec.predictor.engine.cache, scene.build
    if cache is not None and build is not None and build.job not in there.get(JOBS, {}) and not _built(scene):
        writes.append(Write(JOBS, engine_job(scene, cache)))
    if scene.current is None and not scene.held_back:
        replicas = course.replicas[scene.newest]
        body = manifests.deployment(service, scene.newest, scene.model, replicas, platform, engine=_built(scene))
        writes.append(Write(DEPLOYMENTS, body))
    return tuple(writes)


def _autoscaler(scene: Scene) -> list[Write]:
    """HorizontalPodAutoscaler, where the CPU decides; brought up to date when the spec asks for something else."""
    scaling, autoscalers = scene.service.spec.auto_scaling, scene.platform.autoscalers
    if scaling is None or scaling.scale_metric is not ScaleMetric.CPU or autoscalers is None:
        return []
    body = manifests.autoscaler(scene.service, scaling, autoscalers)
    known = scene.around.children.get(autoscalers, {}).get(scene.service.name)
    mark = manifests.SPEC_HASH
    if (
        known is not None
        and (known["metadata"].get("annotations") or {}).get(mark) == body["metadata"]["annotations"][mark]
    ):
        return []
    return [Write(autoscalers, body, replace=True)]


def _unwanted(scene: Scene) -> list[Delete]:
    """An autoscaler that is not asked for any more."""
    scaling, autoscalers = scene.service.spec.auto_scaling, scene.platform.autoscalers
    if autoscalers is None or (scaling is not None and scaling.scale_metric is ScaleMetric.CPU):
        return []
    known = scene.around.children.get(autoscalers, {}).get(scene.service.name)
    return [Delete(autoscalers, scene.service.name, uid_of(known))] if known is not None else []


def _retire(scene: Scene, old: Revision) -> list[Delete]:
    """Deletes of a revision, whose pods drain: not ready first, then finishing what they have."""
    return [Delete(DEPLOYMENTS, old.name, old.uid), *_config_map(scene, old.name)]


def _config_map(scene: Scene, name: str) -> list[Delete]:
    """Delete of a ConfigMap if it is the service's own: a name that a label tells may be that of anybody's."""
    known = scene.around.children.get(CONFIGMAPS, {}).get(name)
    return [Delete(CONFIGMAPS, name, uid_of(known))] if known is not None else []


def _needless_builds(scene: Scene, course: Course) -> list[Delete]:
    """Deletes of build Jobs whose revisions shall have no pods.

    A revision that waited for its engine has a ConfigMap and no Deployment: the ConfigMap goes with the Job.
    """
    deletes = []
    deployed = {revision.revision for revision in scene.revisions}
    for name, job in scene.around.children.get(JOBS, {}).items():
        revision = revision_of(job)
        if revision in course.replicas or job["metadata"].get("deletionTimestamp"):
            continue
        deletes.append(Delete(JOBS, name, uid_of(job)))
        if revision not in deployed:
            deletes += _config_map(scene, scene.service.child(revision))
    return deletes


def _outlived_build(scene: Scene, course: Course) -> Delete | None:
    """A Job whose engine is there and whose pod goes on, or fails, by what others put into it."""
    build = scene.build
    job = scene.around.children.get(JOBS, {}).get(build.job) if build is not None and build.over else None
    if build is None or job is None or job["metadata"].get("deletionTimestamp") or scene.newest not in course.replicas:
        return None
    return Delete(JOBS, build.job, uid_of(job))


def _outlived_pods(scene: Scene, course: Course) -> list[Delete]:
    job = _outlived_build(scene, course)
    return [*([job] if job is not None else []), *(scene.build.deletes if scene.build is not None else ())]
