"""One look at a SearchJob: read the cache, ask for parameters, decide, do. All I/O of the kind is here."""

from collections.abc import Callable
from datetime import UTC, datetime

from slipway.reconcile.execute import Executor, Record
from slipway.reconcile.namespace_limit import Stubs
from slipway.reconcile.plan import Plan
from slipway.reconcile.pods.members import members
from slipway.reconcile.refusal import tellable
from slipway.reconcile.status import StatusDraft
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import crowded
from slipway.runtime.caching.store import Change, Key
from slipway.runtime.client.errors import Terminal
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import PODS, Object, controller_of, identity_of, parent_of
from slipway.runtime.controller import DONE, Result
from slipway.searchjob.job import KIND, SEARCH_JOBS, Platform
from slipway.searchjob.plan import look, plan, wanted
from slipway.searchjob.status import SOFT_FIELDS
from slipway.searchjob.suggestions import Suggestions
from slipway.trainingjob.job import TRAINING_JOBS


class SearchJobReconciler:
    """The kind's reconcile, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        quantizer_image: str,
        record: Record,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`quantizer_image`: what measures, for it holds torch, the exporter and the engines."""
        self.suggestions = Suggestions()
        self._cache = cache
        self._platform = Platform(quantizer_image)
        self._clock = clock
        self._executor = Executor(kube, cache, SEARCH_JOBS, SOFT_FIELDS, record)
        self._stubs = Stubs(kube, cache, SEARCH_JOBS, self._executor)

    async def reconcile(self, key: Key) -> Result:
        """Bring the search one step further; raises Transient, Terminal or ApiError."""
        job = self._cache[SEARCH_JOBS].get(*key)
        if job is None:
            return DONE
        if crowded(job):
            return await self._stubs.reconcile(job, self._draft(job))
        return Result(requeue_after=await self._executor.execute(job, await self._decide(job)))

    async def _decide(self, job: Object) -> Plan:
        trials = self._cache[TRAINING_JOBS].children(identity_of(job, SEARCH_JOBS))
        pods = members(self._cache[PODS], job, SEARCH_JOBS)
        seen = look(job, trials, pods, self._platform, self._clock())
        if isinstance(seen, Plan):
            return seen
        count = wanted(seen)
        # The world may move on meanwhile: then the status, which is written first, meets a newer version, and another
        # look begins.
        chosen = await self.suggestions.ask(job["spec"], seen.records, count) if count else []
        return plan(seen, chosen)

    async def on_error(self, key: Key, error: Exception) -> None:
        """Report an error as a condition, in the server's words: nothing fails silently."""
        job = self._cache[SEARCH_JOBS].get(*key)
        words = tellable(error)
        if job is None or words is None or crowded(job):
            return
        draft = self._draft(job)
        if draft.run.finished:
            return
        given_up = isinstance(error, Terminal)
        await self._executor.report(job, (draft.stalled(*words) if given_up else draft.progressing(*words)).done())

    def trial_changed(self, change: Change) -> Key | None:
        """The search whose trial this TrainingJob is, or None."""
        trial = change.new or change.old
        parent, owner = (parent_of(trial), controller_of(trial)) if trial is not None else (None, None)
        if parent is None or owner is None or (parent.group, parent.kind) != (SEARCH_JOBS.group, KIND):
            return None
        return Key(change.key.namespace, str(owner.get("name")))

    def _draft(self, job: Object) -> StatusDraft:
        return StatusDraft(job.get("status"), job["metadata"].get("generation") or 1, self._clock())
