"""One look at a TrainingJob: read the cache, decide, do. All I/O of the kind passes here. Called by the controller."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from slipway.job.execute import Executor, Record, tellable
from slipway.job.status import Draft
from slipway.runtime.cache import Cache
from slipway.runtime.controller import DONE, Result
from slipway.runtime.errors import Terminal, Transient
from slipway.runtime.kube import Kube
from slipway.runtime.resource import PODS, Object
from slipway.trainingjob.job import TRAINING_JOBS, Platform
from slipway.trainingjob.plan import plan
from slipway.trainingjob.status import SOFT_FIELDS


class JobKey(NamedTuple):
    """Which TrainingJob."""

    namespace: str
    name: str


ProgressOf = Callable[[JobKey, str], Mapping[str, Any] | None]


class TrainingJobs:
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
        self._cache = cache
        self._platform = platform
        self._progress_of = progress_of
        self._clock = clock
        self._executor = Executor(kube, cache, TRAINING_JOBS, SOFT_FIELDS, record)

    async def reconcile(self, key: JobKey) -> Result:
        """Bring the job one step further; raises Transient, Terminal or ApiError."""
        job = self._cache[TRAINING_JOBS].get(*key)
        if job is None:
            return DONE
        uid = job["metadata"]["uid"]
        decision = plan(
            job, self._cache[PODS].children(uid), self._progress_of(key, uid), self._platform, self._clock()
        )
        wait = await self._executor.execute(job, decision)
        return Result(requeue_after=wait)

    async def on_error(self, key: JobKey, error: Exception) -> None:
        """Nothing fails silently: the condition says what the server said."""
        job = self._cache[TRAINING_JOBS].get(*key)
        words = tellable(error)
        if job is None or words is None:
            return
        await self._executor.report(job, self._troubled(job, error, *words))

    def _troubled(self, job: Object, error: Exception, reason: str, message: str) -> Mapping[str, Any]:
        draft = Draft(job.get("status"), job["metadata"].get("generation") or 1, self._clock())
        if draft.run.finished:
            return draft.wire
        retried = isinstance(error, Transient) or not isinstance(error, Terminal)
        return (draft.progressing(reason, message) if retried else draft.stalled(reason, message)).done()
