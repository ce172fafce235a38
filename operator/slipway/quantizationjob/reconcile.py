"""One look at a QuantizationJob: read the cache, decide, do. All I/O of the kind is here. Called by the controller."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.gang.deleted_pods import DeletedPods
from slipway.gang.progress_reports import ProgressOf
from slipway.gang.reconciler import GangReconciler
from slipway.quantizationjob.job import QUANTIZATION_JOBS, Platform
from slipway.quantizationjob.plan import OtherPods, plan
from slipway.quantizationjob.status import SOFT_FIELDS
from slipway.reconcile.execute import Record
from slipway.reconcile.plan import Plan
from slipway.reconcile.pods.members import named
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Change, Key
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import Object, Resource, identity_of, name_of, namespace_of, uid_of
from slipway.runtime.controller import Result


class QuantizationJobReconciler:
    """The kind's reconcile, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        platform: Platform,
        sources: Mapping[str, Resource],
        record: Record,
        progress_of: ProgressOf,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`sources`: the kinds whose artifacts can be quantized, by name. `progress_of`: what the pods posted last."""
        # Whoever binds the cache tells it which pods go.
        self.deleted_pods = DeletedPods(clock)
        self._cache = cache
        self._platform = platform
        self._sources = sources
        self._progress_of = progress_of
        self._jobs = GangReconciler(kube, cache, QUANTIZATION_JOBS, SOFT_FIELDS, record, clock)

    async def reconcile(self, key: Key) -> Result:
        """Bring the job one step further; raises Transient, Terminal or ApiError."""
        return await self._jobs.reconcile(key, self._plan)

    def pod_changed(self, change: Change) -> None:
        """Hear of any pod that comes, changes or goes; `deleted_pods` is told by another."""
        self._jobs.orphans.changed(change)

    async def on_error(self, key: Key, error: Exception) -> None:
        """Report an error, for nothing fails silently: the condition says what the server said."""
        await self._jobs.on_error(key, error)

    def waiting_for(self, kind: str, key: Key) -> list[Key]:
        """The jobs that quantize what this job makes: they are looked at when it changes."""
        return [
            Key(namespace_of(job), job["metadata"]["name"])
            for job in self._cache[QUANTIZATION_JOBS]
            if namespace_of(job) == key.namespace and _source_name(job, kind) == key.name
        ]

    def _plan(self, job: Object, predecessors: list[Object], now: datetime) -> Plan:
        wanted = ((resource, _source_name(job, kind)) for kind, resource in self._sources.items())
        found = (self._cache[resource].get(namespace_of(job), name) for resource, name in wanted if name is not None)
        source = next(found, None)
        pods = self._jobs.pods(job)
        progress = self._progress_of(Key(namespace_of(job), name_of(job)), uid_of(job))
        gone = named(self.deleted_pods.of(identity_of(job, QUANTIZATION_JOBS)), name_of(job))
        others = OtherPods(predecessors, gone)
        return plan(job, pods, source, self._platform, now, others=others, progress=progress)


def _source_name(job: Object, kind: str) -> str | None:
    """The job of this kind that the job names, read from an object that may not be valid."""
    source: Any = job.get("spec")
    for field in ("model", "from", f"{kind[0].lower()}{kind[1:]}"):
        source = source.get(field) if isinstance(source, dict) else None
    return source if isinstance(source, str) else None
