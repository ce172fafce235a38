"""One look at a TrainingJob: read the cache, decide, do. All I/O of the kind passes here. Called by the controller."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from slipway.gang.deleted_pods import DeletedPods
from slipway.gang.progress_reports import ProgressOf
from slipway.gang.reconciler import GangReconciler
from slipway.reconcile.execute import Record
from slipway.reconcile.plan import Plan
from slipway.reconcile.pods.members import named
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Change, Key
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import Object, Resource, identity_of, name_of, namespace_of, uid_of
from slipway.runtime.controller import Result
from slipway.trainingjob.base_model import source_name
from slipway.trainingjob.job import TRAINING_JOBS, Cluster, Platform
from slipway.trainingjob.plan import plan
from slipway.trainingjob.runtimes import Runtimes
from slipway.trainingjob.status import SOFT_FIELDS

View = Callable[[Object], Cluster]


class TrainingJobReconciler:
    """The kind's reconcile, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        platform: Platform,
        record: Record,
        progress_of: ProgressOf,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`progress_of` gives the newest report posted for a job's UID, as status.progress fields, or None."""
        # What the cluster says about a job; set where gangs wait for room.
        self.view: View = lambda job: Cluster()
        # Whoever binds the cache tells it which pods go.
        self.deleted_pods = DeletedPods(clock)
        self._platform = replace(platform, listening=clock())
        self._progress_of = progress_of
        self._runtimes = Runtimes(cache)
        self._cache = cache
        # Jobs by the job whose model they wait for, as they were last looked at: nobody looks through thousands.
        self._waiting: dict[Key, set[Key]] = {}
        self._jobs = GangReconciler(kube, cache, TRAINING_JOBS, SOFT_FIELDS, record, clock)

    async def reconcile(self, key: Key) -> Result:
        """Bring the job one step further; raises Transient, Terminal or ApiError."""
        return await self._jobs.reconcile(key, self._plan)

    def pod_changed(self, change: Change) -> None:
        """Hear of any pod that comes, changes or goes."""
        self.deleted_pods.changed(change)
        self._jobs.orphans.changed(change)

    def waiting_for(self, resource: Resource, key: Key) -> list[Key]:
        """Jobs that have no copy yet of a runtime that has changed: they are looked at."""
        return self._runtimes.waiting_for(resource, key)

    def tuning(self, key: Key) -> list[Key]:
        """Jobs that wait for the model of this one, which has changed: they are looked at."""
        return sorted(self._waiting.pop(key, ()))

    def _source(self, job: Object) -> Object | None:
        name = source_name(job)
        if name is None:
            return None
        key = Key(namespace_of(job), name)
        if "digest" not in ((job.get("status") or {}).get("model") or {}):
            self._waiting.setdefault(key, set()).add(Key(namespace_of(job), name_of(job)))
        return self._cache[TRAINING_JOBS].get(*key)

    async def on_error(self, key: Key, error: Exception) -> None:
        """Report an error, for nothing fails silently: the condition says what the server said."""
        await self._jobs.on_error(key, error)

    def _plan(self, job: Object, predecessors: list[Object], now: datetime) -> Plan:
        progress = self._progress_of(Key(namespace_of(job), name_of(job)), uid_of(job))
        pods = self._jobs.pods(job)
        cluster = replace(
            self.view(job),
            deleted_pods=named(self.deleted_pods.of(identity_of(job, TRAINING_JOBS)), name_of(job)),
            runtime=self._runtimes.of(job),
            source=self._source(job),
        )
        return plan(job, pods, self._platform, now, predecessors=predecessors, progress=progress, cluster=cluster)
