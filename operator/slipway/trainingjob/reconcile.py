"""One look at a TrainingJob: read the cache, decide, do. All I/O of the kind passes here. Called by the controller."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from slipway.api.common import Reason, RunPolicy
from slipway.job.execute import Executor, Record, tellable
from slipway.job.gangstatus import refused
from slipway.job.lineage import Lineage
from slipway.job.plan import soonest
from slipway.job.policy import deadlines
from slipway.job.status import Draft
from slipway.runtime.cache import Cache
from slipway.runtime.controller import DONE, Result
from slipway.runtime.errors import Terminal, Transient
from slipway.runtime.kube import Kube
from slipway.runtime.resource import PODS, Object, uid_of
from slipway.trainingjob.job import TRAINING_JOBS, Platform
from slipway.trainingjob.plan import plan
from slipway.trainingjob.status import SOFT_FIELDS

# Refusals of the server that pass without an edit of the job: tried again at a pace of our own, until a deadline.
_PASSING = frozenset({Reason.CREATE_REFUSED, Reason.NAME_CONFLICT, Reason.PODS_PENDING})


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
        self._lineage = Lineage(cache[PODS], TRAINING_JOBS.kind)

    async def reconcile(self, key: JobKey) -> Result:
        """Bring the job one step further; raises Transient, Terminal or ApiError."""
        job = self._cache[TRAINING_JOBS].get(*key)
        if job is None:
            for gone in self._lineage.forget(key):
                self._executor.forget(gone)
            return DONE
        uid, pods = uid_of(job), self._cache[PODS]
        decision = plan(
            job,
            pods.children(uid),
            self._platform,
            self._clock(),
            predecessors=self._lineage.predecessors(key, uid),
            progress=self._progress_of(key, uid),
        )
        try:
            return Result(requeue_after=await self._executor.execute(job, decision))
        except Transient as refusal:
            if refusal.reason not in _PASSING:
                raise
            return await self._refused(key, refusal)

    async def on_error(self, key: JobKey, error: Exception) -> None:
        """Nothing fails silently: the condition says what the server said."""
        job = self._cache[TRAINING_JOBS].get(*key)
        words = tellable(error)
        if job is None or words is None:
            return
        draft = self._draft(job)
        if draft.run.finished:
            return
        given_up = isinstance(error, Terminal)
        await self._executor.report(job, (draft.stalled(*words) if given_up else draft.progressing(*words)).done())

    async def _refused(self, key: JobKey, refusal: Transient) -> Result:
        job = self._cache[TRAINING_JOBS].get(*key)
        if job is None:
            return DONE
        draft = refused(self._draft(job), refusal.reason, refusal.message)
        await self._executor.report(job, draft.done())
        policy = RunPolicy.model_validate(job["spec"].get("runPolicy") or {})
        left = deadlines.startup_seconds_left(policy, draft.run, draft.now)
        return Result(requeue_after=soonest(deadlines.retry_refused_in(draft.run, draft.now), left))

    def _draft(self, job: Object) -> Draft:
        return Draft(job.get("status"), job["metadata"].get("generation") or 1, self._clock())
