"""Assembly of the operator's parts: kinds, cache and queues, and who hears of which change. main.py runs the result."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from slipway.api.codegen.crd import KINDS, root_schema
from slipway.config import Config
from slipway.gang.progress_reports import ProgressReports
from slipway.inferenceservice import draining, transform
from slipway.inferenceservice import service as serving
from slipway.inferenceservice.reconcile import InferenceServiceReconciler
from slipway.quantizationjob import job as quantizing
from slipway.quantizationjob.reconcile import QuantizationJobReconciler
from slipway.queueing.autoscalers import scales_up
from slipway.queueing.quota import slim_limits, slim_quota
from slipway.queueing.resources import slim_footprint, slim_node, slim_priority
from slipway.reconcile.execute import Record
from slipway.reconcile.labels import JOB_NAME, KIND, MANAGED_SELECTOR
from slipway.reconcile.pruned_fields import keeping
from slipway.runtime.caching.cache import Cache, Change, slim, slim_link, slim_pod
from slipway.runtime.caching.namespace_shares import Shares
from slipway.runtime.caching.store import Key
from slipway.runtime.certificate import Certificate, obtain
from slipway.runtime.client.errors import Forbidden
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import (
    CONFIGMAPS,
    LIMIT_RANGES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    QUOTAS,
    SERVICES,
    Resource,
    identity_of,
)
from slipway.runtime.client.transform import Slim
from slipway.runtime.controller import Controller, ObserveReconcile
from slipway.runtime.queue import WorkQueue
from slipway.searchjob import job as searching
from slipway.searchjob.reconcile import SearchJobReconciler
from slipway.trainingjob import job as training
from slipway.trainingjob.queueing.admission import Admission
from slipway.trainingjob.reconcile import TrainingJobReconciler

log = logging.getLogger("slipway")

OURS: Mapping[str, Resource] = {
    training.KIND: training.TRAINING_JOBS,
    quantizing.KIND: quantizing.QUANTIZATION_JOBS,
    serving.KIND: serving.INFERENCE_SERVICES,
    searching.KIND: searching.SEARCH_JOBS,
}
# Kinds whose artifacts can be quantized, and kinds whose pods post their progress.
MODELS = {training.KIND: training.TRAINING_JOBS, searching.KIND: searching.SEARCH_JOBS}
REPORTING = (training.KIND, quantizing.KIND)
_SERVED = f"{MANAGED_SELECTOR},{KIND}={serving.KIND}"
# What the kinds make and have to hear of, by labels; those that not every cluster serves are found at the start.
CHILDREN: Mapping[Resource, str] = {
    PODS: MANAGED_SELECTOR,
    serving.DEPLOYMENTS: MANAGED_SELECTOR,
    serving.REPLICA_SETS: _SERVED,
    SERVICES: MANAGED_SELECTOR,
    CONFIGMAPS: MANAGED_SELECTOR,
    serving.JOBS: _SERVED,
}
# What gangs that wait for room lean on: all nodes, and everybody's pods.
_CAPACITY: Mapping[Resource, str] = {PODS: "", NODES: ""}
_UNSEEN_DRAINS = "a service's only pod is evicted before its replacement serves"
# The same, where they may be read: else the server's refusals tell of them.
_BOUNDS: Mapping[Resource, Slim] = {QUOTAS: slim_quota, LIMIT_RANGES: slim_limits, PRIORITY_CLASSES: slim_priority}

_SLIMS: Mapping[Resource, Slim] = {
    NODES: slim_node,
    serving.DEPLOYMENTS: transform.deployment,
    SERVICES: transform.address,
    CONFIGMAPS: transform.config_map,
    serving.JOBS: transform.job,
    serving.REPLICA_SETS: slim_link,
    **dict.fromkeys((*serving.BUDGETS, *serving.AUTOSCALERS), transform.bare),
    **dict.fromkeys((*serving.ROUTES, *serving.GRPC_ROUTES), transform.route),
}


@dataclass(frozen=True)
class Platforms:
    """Settings of the installation for the kinds: images, endpoints, gang admission, memory of a namespace."""

    training: training.Platform
    quantizing: quantizing.Platform
    serving: serving.Platform
    # Whether gangs wait until the cluster has room for them.
    gang_admission: bool = False
    # What the resources of one namespace may take of the memory.
    namespace_bytes: int = 32 * 2**20


class Assembly:
    """The cache, and one queue and controller per kind."""

    def __init__(
        self,
        kube: Kube,
        platforms: Platforms,
        *,
        namespaces: tuple[str, ...],
        workers: int,
        record: Record,
        observe: ObserveReconcile,
        wait_observer: Callable[[str], Callable[[float], None]],
    ) -> None:
        """Bind all parts to each other; empty `namespaces` mean all of them."""
        self.cache = Cache(self._changed, namespaces=namespaces)
        self._kube, self._namespaces = kube, namespaces
        self.children = {**CHILDREN, **(_CAPACITY if platforms.gang_admission else {})}
        self._watch(platforms)
        self.queues: dict[str, WorkQueue[Any]] = {kind: WorkQueue(observe_wait=wait_observer(kind)) for kind in OURS}
        marks = {kind: self.queues[kind].mark_after for kind in REPORTING}
        self.reports = {kind: ProgressReports(self.cache, OURS[kind], mark) for kind, mark in marks.items()}
        said_of = {kind: reports.progress_of for kind, reports in self.reports.items()}
        jobs = TrainingJobReconciler(kube, self.cache, platforms.training, record, said_of[training.KIND])
        self._trainings = jobs
        self._admission = Admission(self.cache, marks[training.KIND], on_the_loop) if platforms.gang_admission else None
        if self._admission is not None:
            jobs.view = self._admission.view
        self._quantizations = quantizations = QuantizationJobReconciler(
            kube, self.cache, platforms.quantizing, MODELS, record, said_of[quantizing.KIND]
        )
        # One memory for all kinds: it is bounded as a whole.
        quantizations.deleted_pods = jobs.deleted_pods
        sources = {**MODELS, quantizing.KIND: quantizing.QUANTIZATION_JOBS}
        self._services = InferenceServiceReconciler(
            kube, self.cache, platforms.serving, sources, record, partial(self.mark, serving.KIND)
        )
        self._searches = SearchJobReconciler(kube, self.cache, platforms.quantizing.quantizer_image, record)
        reconcilers: tuple[Any, ...] = jobs, quantizations, self._services, self._searches
        self.controllers = [
            self._controller(kind, one.reconcile, one.on_error, workers, observe)
            for kind, one in zip(OURS, reconcilers, strict=True)
        ]

    def _watch(self, platforms: Platforms) -> None:
        self._shares = shares = Shares(platforms.namespace_bytes)
        self._drains = draining.NodeDrains(self.cache, partial(self.mark, serving.KIND), on_the_loop)
        for kind in KINDS:
            self.cache.add(OURS[kind.kind], slim=keeping(root_schema(kind)), shares=shares)
        slims = {**_SLIMS, PODS: slim_footprint if platforms.gang_admission else slim_pod}
        for resource, selector in self.children.items():
            self.cache.add(resource, selector=selector, slim=slims.get(resource, slim))

    async def discover(self) -> None:
        """Find out which of the optional kinds the cluster serves, in which version. Once, before the first LIST."""
        optional = (serving.BUDGETS, serving.AUTOSCALERS, serving.ROUTES, serving.GRPC_ROUTES)
        found = [await self._first_served(candidates) for candidates in optional]
        self.children |= {resource: _SERVED for resource in found if resource is not None}
        for resource in filter(None, found):
            self.cache.add(resource, selector=_SERVED, slim=_SLIMS[resource])
        if NODES not in self.children and await self._may_list(NODES, _UNSEEN_DRAINS):
            self.children |= {NODES: ""}
            self.cache.add(NODES, slim=slim_node)
        for resource, thin_out in _BOUNDS.items() if self._admission is not None else ():
            if await self._may_list(resource, "not counted when gangs are let in, so that the server may refuse some"):
                self.children |= {resource: ""}
                self.cache.add(resource, slim=thin_out)
        for runtimes in training.RUNTIMES.values():
            # An upgrade may bring the operator before its new kinds.
            if await self._kube.serves(runtimes) and await self._may_list(runtimes, "jobs that name one wait"):
                self.children |= {runtimes: ""}
                self.cache.add(runtimes, shares=self._shares)
        if self._admission is not None:
            self._admission.scales_up = await scales_up(self._kube, self._namespaces)
        budgets, autoscalers, routes, grpc_routes = found
        self._services.platform = replace(
            self._services.platform, budgets=budgets, autoscalers=autoscalers, routes=routes, grpc_routes=grpc_routes
        )

    async def _first_served(self, candidates: tuple[Resource, ...]) -> Resource | None:
        for resource in candidates:
            if await self._kube.serves(resource):
                return resource
        return None

    async def _may_list(self, resource: Resource, without: str) -> bool:
        """Tell whether the operator may list them; if not, the log says what that comes to."""
        try:
            for namespace in (self._namespaces if resource.namespaced else ()) or (None,):
                await self._kube.list(resource, namespace, slim=lambda obj: {})
        except Forbidden as error:
            log.warning("%s: %s", without, error)
            return False
        return True

    async def close(self) -> None:
        """Drop the questions to pods that are under way."""
        await self._services.scraper.close()
        await self._services.listener.close()

    def _controller(
        self,
        kind: str,
        reconcile: Callable[..., Any],
        on_error: Callable[..., Any],
        workers: int,
        observe: ObserveReconcile,
    ) -> Controller[Any]:
        queue = self.queues[kind]
        return Controller(kind, queue, reconcile, workers=workers, on_error=on_error, observe=observe)

    def _changed(self, resource: Resource, change: Change) -> None:
        """Mark whom a change concerns: the object itself and those that wait for it, or a child's owner."""
        if self._admission is not None:
            self._admission.changed(resource, change)
        if resource is NODES:
            self._drains.changed(change)
            return
        if resource is PODS:
            self._trainings.pod_changed(change)
            self._quantizations.pod_changed(change)
        for kind, ours in OURS.items():
            if resource is ours:
                self.mark(kind, change.key)
                self._wake_others(kind, change)
                return
        if resource in training.RUNTIMES.values():
            for waiting in self._trainings.waiting_for(resource, change.key):
                self.mark(training.KIND, waiting)
            return
        marks = ((change.new or change.old or {}).get("metadata") or {}).get("labels") or {}
        if marks.get(KIND) in OURS and marks.get(JOB_NAME):
            self.mark(marks[KIND], Key(change.key.namespace, marks[JOB_NAME]))

    def _wake_others(self, kind: str, change: Change) -> None:
        """Mark those that wait for an object of ours, which has changed."""
        if change.new is None and kind in self.reports:
            self.reports[kind].forget(change.key)
        if kind == training.KIND:
            for waiting in self._trainings.tuning(change.key):
                self.mark(training.KIND, waiting)
            if (search := self._searches.trial_changed(change)) is not None:
                self.mark(searching.KIND, search)
        for waiting in self._quantizations.waiting_for(kind, change.key) if kind in MODELS else ():
            self.mark(quantizing.KIND, waiting)
        for waiting in self._services.waiting_for(kind, change.key):
            self.mark(serving.KIND, waiting)

    def reorder(self) -> None:
        """Have what no operator has looked at as it is, and what one left half done, worked first. Once, after the
        first LIST.
        """
        for kind, queue in self.queues.items():
            queue.reorder(partial(self._urgent, OURS[kind]))

    def _urgent(self, resource: Resource, key: Key) -> bool:
        obj = self.cache[resource].get(*key)
        if obj is None:
            return False
        status = obj.get("status") or {}
        if status.get("observedGeneration") != obj["metadata"].get("generation"):
            return True
        # Pods, and no word that all of their attempt were made: a part of a gang holds room that is of no use to it.
        begun = "attemptTime" in status or "completionTime" in status
        return not begun and bool(self.cache[PODS].children(identity_of(obj, resource)))

    def mark(self, kind: str, key: Key) -> None:
        """Put an object into the queue of its kind, to be reconciled."""
        self.queues[kind].mark(key)


def on_the_loop(seconds: float, call: Callable[[], None]) -> None:
    """Schedule a call on the running event loop, after so many seconds."""
    asyncio.get_running_loop().call_later(seconds, call)


def endpoint_certificate(config: Config) -> Certificate:
    """Certificate of the status endpoint: the mounted one; else one made here, which lives as long as the pod."""

    def make() -> Certificate:
        from slipway.runtime import self_signed  # costs memory that a mounted certificate saves

        return self_signed.certificate((urlsplit(config.status_url).hostname or "localhost",))

    return obtain(config.status_cert_dir, config.status_made_dir, make)
