"""One look at a service whose artifact is known, and what a way of rolling out makes of it. Pure data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.inferenceservice.autoscale import Size
from slipway.inferenceservice.observed import Revision
from slipway.inferenceservice.policy.traffic import Window
from slipway.inferenceservice.service import InferenceService, Platform
from slipway.job.plan import Notice
from slipway.job.source import Pinned
from slipway.job.status import Draft
from slipway.runtime.resource import Resource

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Around:
    """What there is beside the service: its children, its source, and what its pods said."""

    deployments: Sequence[Object]
    pods: Sequence[Object]
    # Every other child, by resource and name.
    children: Mapping[Resource, Mapping[str, Object]]
    source: Object | None
    window: Window | None = None
    # Why the pods' figures could not be read.
    unread: str = ""
    # A pod's description of its model, and its revision.
    model: tuple[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Scene:
    """Everything that the ways of rolling out decide from. They write into `draft`."""

    service: InferenceService
    model: Pinned
    revisions: tuple[Revision, ...]
    around: Around
    size: Size
    draft: Draft
    platform: Platform

    @property
    def newest(self) -> str:
        """The revision that the spec and the pinned artifact ask for."""
        return self.service.revision(self.model)

    @property
    def current(self) -> Revision | None:
        """Its Deployment."""
        return next((r for r in self.revisions if r.revision == self.newest and not r.deleting), None)

    @property
    def older(self) -> list[Revision]:
        """The other Deployments, oldest first."""
        others = [r for r in self.revisions if r.revision != self.newest and not r.deleting]
        return sorted(others, key=lambda r: (r.created, r.name))

    @property
    def stable(self) -> Revision | None:
        """The older revision that had all the traffic last."""
        predictor = (self.draft.old.get("components") or {}).get("predictor") or {}
        name = predictor.get("latestRolledoutRevision") or predictor.get("latestReadyRevision")
        return next((revision for revision in self.older if revision.revision == name), None)


@dataclass(frozen=True)
class Course:
    """Which revisions shall have how many pods, and which go. `persist`: the status says so first."""

    replicas: Mapping[str, int]
    retire: Sequence[Revision] = field(default_factory=tuple)
    notices: tuple[Notice, ...] = ()
    persist: bool = False
    requeue_after: float | None = None
