"""One look at a service whose artifact is known, and what a way of rolling out makes of it. Pure data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.inferenceservice.autoscale import Size
from slipway.inferenceservice.engine_build import Build, BuildPhase, job_name, observe_build, waits
from slipway.inferenceservice.observed import Revision, Trouble, trouble_of
from slipway.inferenceservice.policy.traffic import Window
from slipway.inferenceservice.policy.zero import ActivatorState
from slipway.inferenceservice.service import JOBS, InferenceService, Platform
from slipway.reconcile.plan import Notice
from slipway.reconcile.source import Pinned
from slipway.reconcile.status import StatusDraft
from slipway.runtime.client.resource import Resource

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Observed:
    """Surroundings of a service: its children, its source, and what its pods said."""

    deployments: Sequence[Object]
    pods: Sequence[Object]
    # Every other child, by resource and name.
    children: Mapping[Resource, Mapping[str, Object]]
    source: Object | None
    window: Window | None = None
    # Why some pod's figures could not be read the last time, and of which pods they have not been for long.
    unread: str = ""
    given_up: str = ""
    # status.servedModel as a pod told it.
    model: Mapping[str, Any] | None = None
    # The pods of its engine builds.
    builds: Sequence[Object] = ()
    # The Deployment of its activator, and what is known of it.
    activator: Object | None = None
    activator_state: ActivatorState = field(default_factory=ActivatorState)
    # The TrainingJobs whose adapters are served, by name.
    adapter_jobs: Mapping[str, Object | None] = field(default_factory=dict)
    # Nodes of its pods that are being emptied; None where the operator may not read nodes.
    leaving: frozenset[str] | None = None


@dataclass(frozen=True)
class ServiceState:
    """Everything that the ways of rolling out decide from. They write into `draft`."""

    service: InferenceService
    model: Pinned
    revisions: tuple[Revision, ...]
    observed: Observed
    size: Size
    draft: StatusDraft
    platform: Platform

    @cached_property
    def newest(self) -> str:
        """The revision that the spec and the pinned artifact ask for."""
        return self.service.revision(self.model)

    @property
    def current(self) -> Revision | None:
        """Newest revision's Deployment; None where there is none, or only one that is being deleted."""
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

    @property
    def routed(self) -> bool:
        """Tell whether a gateway gives the canary its share."""
        return self.service.spec.rollout.gateway is not None and self.platform.routes is not None

    @property
    def build(self) -> Build | None:
        """Build of the newest revision's engine; None where no Job shall build one."""
        if self.service.spec.predictor.engine.cache is None:
            return None
        name = job_name(self.service.child(self.newest))
        job = self.observed.children.get(JOBS, {}).get(name)
        if job is None and self.current is not None and self.current.engine:
            return Build(name, BuildPhase.BUILT)
        told = self.draft.old.get("engine")
        return observe_build(name, job, self.observed.builds, self.newest, self.draft.now, told)

    @property
    def held_back(self) -> bool:
        """Tell whether the newest revision's pods are not made before its engine."""
        only = self.service.spec.predictor.engine.only_tensorrt
        served = any(revision.ready for revision in self.older)
        return self.build is not None and waits(self.build, only_tensorrt=only, served=served)

    @cached_property
    def trouble(self) -> Trouble | None:
        """Obstacle that keeps the newest revision from serving; None without one."""
        found = trouble_of(self.observed.pods, self.newest, self.draft.now)
        return self.build.trouble if found is None and self.build is not None and self.held_back else found

    @property
    def hopeless(self) -> str:
        """Reason for the newest revision never to serve, if that is sure: its engine, or its Deployment's deadline."""
        if self.build is not None and self.build.phase is BuildPhase.FAILED and self.held_back:
            return self.build.trouble.message if self.build.trouble is not None else "its engine could not be built"
        return self.current.overdue if self.current is not None else ""


@dataclass(frozen=True)
class RolloutPlan:
    """Plan of a rollout: numbers of pods by revision, and revisions that go. `persist`: the status says so first."""

    replicas: Mapping[str, int]
    retire: Sequence[Revision] = field(default_factory=tuple)
    notices: tuple[Notice, ...] = ()
    persist: bool = False
    requeue_after: float | None = None
