"""What to do with an InferenceService now: (object, children, source, now) -> Plan. Pure; called by reconcile.py.

A revision is a Deployment named by the hash of what its pods are made from. The newest one replaces the others only
once all its replicas serve; until then, and when it never does, the ones before it go on serving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api.common import Reason
from slipway.api.inferenceservice import TransitionStatus, spec_problems
from slipway.inferenceservice import manifests
from slipway.inferenceservice import status as words
from slipway.inferenceservice.observed import Revision, observe_revision, trouble_of
from slipway.inferenceservice.service import DEPLOYMENTS, InferenceService, Platform, identify
from slipway.inferenceservice.source import resolve
from slipway.job.plan import Delete, Notice, Plan, Write
from slipway.job.source import Pinned, Resolution
from slipway.job.status import Draft
from slipway.runtime.resource import CONFIGMAPS, SERVICES


@dataclass(frozen=True)
class Scene:
    """One look at a service whose artifact is known."""

    service: InferenceService
    model: Pinned
    revisions: tuple[Revision, ...]
    pods: Sequence[Mapping[str, Any]]
    draft: Draft
    platform: Platform

    @property
    def newest(self) -> str:
        """The revision that the spec and the pinned artifact ask for."""
        return self.service.revision(self.model)

    @property
    def current(self) -> Revision | None:
        """Its Deployment."""
        return next((revision for revision in self.revisions if revision.revision == self.newest), None)

    @property
    def older(self) -> list[Revision]:
        """The other Deployments, oldest first."""
        return sorted((r for r in self.revisions if r.revision != self.newest), key=lambda r: (r.created, r.name))


def plan(
    obj: Mapping[str, Any],
    deployments: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    source: Mapping[str, Any] | None,
    platform: Platform,
    now: datetime,
) -> Plan:
    """Decide. `source` is the job that the spec names, as the cache has it, or None."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return Plan()
    draft = Draft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return _invalid(draft, problems)
    service = identify(obj, spec)
    resolution = resolve(service, obj.get("status") or {}, source)
    if resolution.pinned is None:
        return _waiting(draft, resolution)
    draft.condition("SourceReady", "True", resolution.reason, resolution.message)
    draft.wire["model"] = resolution.pinned.wire()
    revisions = tuple(observe_revision(deployment) for deployment in deployments)
    return _roll_out(Scene(service, resolution.pinned, revisions, pods, draft, platform))


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


def _roll_out(scene: Scene) -> Plan:
    """The newest revision comes first; the older ones go when it serves."""
    words.addresses(scene.service, scene.draft)
    words.count(scene.service, scene.revisions, scene.newest, scene.draft)
    writes = _missing(scene)
    deletes: tuple[Delete, ...] = ()
    current = scene.current
    if current is not None and current.available:
        deletes = tuple(delete for old in scene.older if not old.deleting for delete in _retire(old))
        notices = words.serving(scene.service, current, scene.draft)
    else:
        trouble = trouble_of(scene.pods, scene.newest, scene.draft.now)
        notices = words.rolling_out(scene.newest, current, trouble, _serving(scene.older), scene.draft)
    # What names the artifact and the revision is decided before anything is made from it.
    pinning = scene.draft.old.get("model") != scene.draft.wire.get("model")
    return Plan(status=scene.draft.done(), persist_first=pinning, writes=writes, deletes=deletes, notices=notices)


def _missing(scene: Scene) -> tuple[Write, ...]:
    """What the newest revision lacks; the address goes with the service's first Deployment."""
    service, wanted, current = scene.service, scene.service.spec.replicas, scene.current
    body = manifests.deployment(service, scene.newest, scene.model, wanted, scene.platform)
    if current is not None:
        return () if current.wanted == wanted else (Write(DEPLOYMENTS, body, replace=True),)
    writes = [Write(CONFIGMAPS, manifests.config_map(service, scene.newest, scene.model))]
    if not scene.older:
        writes.append(Write(SERVICES, manifests.address(service)))
    return (*writes, Write(DEPLOYMENTS, body))


def _retire(old: Revision) -> tuple[Delete, Delete]:
    """Its pods drain: not ready first, then finishing what they have."""
    return Delete(DEPLOYMENTS, old.name, old.uid), Delete(CONFIGMAPS, old.name, "")


def _serving(revisions: Sequence[Revision]) -> Revision | None:
    return next((revision for revision in reversed(revisions) if revision.ready), None)
