"""Reconciliation of kinds with a gang, around their plan: find the job, carry out, report refusals and errors."""

from collections.abc import Callable
from datetime import datetime

import orjson

from slipway.api.common.types import Reason, RunPolicy
from slipway.gang.grace_periods import TerminatingSince
from slipway.gang.policy import deadlines
from slipway.gang.predecessors import Predecessors
from slipway.gang.restore_children import ChildRestorer
from slipway.gang.status import refused, take_back
from slipway.reconcile.execute import Executor, Record
from slipway.reconcile.labels import ATTEMPT
from slipway.reconcile.namespace_limit import Stubs
from slipway.reconcile.plan import Plan, soonest
from slipway.reconcile.pods.members import members
from slipway.reconcile.pods.orphans import OrphanedPods
from slipway.reconcile.pods.startup_events import FIRST_SECONDS, StartupEvents
from slipway.reconcile.refusal import tellable
from slipway.reconcile.run_state import read_run
from slipway.reconcile.status import StatusDraft
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import crowded
from slipway.runtime.caching.store import Key
from slipway.runtime.client.errors import Terminal, Transient
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import PODS, Object, Resource, identity_of, name_of, namespace_of, uid_of
from slipway.runtime.controller import DONE, Result

# Refusals of the server that pass without an edit of the job: tried again at a pace of our own, until a deadline.
_PASSING = frozenset({Reason.CREATE_REFUSED, Reason.NAME_CONFLICT, Reason.PODS_PENDING})

Decide = Callable[[Object, list[Object], datetime], Plan]


class GangReconciler:
    """One kind's objects, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        resource: Resource,
        soft_fields: frozenset[str],
        record: Record,
        clock: Callable[[], datetime],
    ) -> None:
        self._cache = cache
        self._resource = resource
        self._clock = clock
        self._executor = Executor(kube, cache, resource, soft_fields, record)
        self._stubs = Stubs(kube, cache, resource, self._executor)
        self._lineage = Predecessors(cache[PODS], resource)
        self._keeper = ChildRestorer(cache, resource, self._executor, record)
        self._going = TerminatingSince()
        self.orphans = OrphanedPods(cache[PODS], resource)
        self._complaints = StartupEvents(kube)

    async def reconcile(self, key: tuple[str, str], decide: Decide) -> Result:
        """Reconcile one job. `decide` gets it, the pods of deleted jobs of the same name, and the time."""
        due = await self._listen(Key(*key))
        job = self._cache[self._resource].get(*key)
        if job is None:
            for gone in self._lineage.forget(key):
                self._executor.forget(gone)
            self._going.forget(Key(*key))
            self._complaints.forget(Key(*key))
            return DONE
        if crowded(job):
            return await self._stubs.reconcile(job, self._draft(job))
        before = self._lineage.predecessors(key, uid_of(job))
        self._look(job, before)
        decision = decide(job, self.timed(job, before), self._clock())
        try:
            wait = await self._executor.execute(job, decision)
            if decision.deletes:
                # The echo of our own delete wakes nobody: the next look is when the grace period should be over.
                self._look(job, before)
            # What we made ourselves is no news, and where no scheduler takes it up nothing ever is.
            started = _patience(job) if decision.writes else None
            return Result(requeue_after=soonest(wait, due, started, await self._keeper.keep(job, decision.keeps)))
        except Transient as refusal:
            if refusal.reason not in _PASSING:
                raise
            return await self._refused(key, refusal, decision)

    def pods(self, job: Object) -> list[Object]:
        """Pods of all attempts, and those that must still be ended though they have lost their owner."""
        mine = members(self._cache[PODS], job, self._resource)
        return self.timed(job, [*mine, *self.orphans.of(job)])

    def timed(self, job: Object, pods: list[Object]) -> list[Object]:
        """Pods of a job, or of its predecessors, with what the operator knows of them.

        What is to go says until when by our own clock, and what does not start says why.
        """
        key = Key(namespace_of(job), name_of(job))
        return self._complaints.told(key, self._going.timed(key, pods))

    async def _listen(self, key: Key) -> float | None:
        """Seconds until somebody should be asked again why pods do not start; before the look that tells of it."""
        job = self._cache[self._resource].get(*key)
        if job is None or crowded(job) or read_run(job.get("status") or {}).finished:
            return None
        pods = self._cache[PODS].children(identity_of(job, self._resource))
        return await self._complaints.look(key, pods, job.get("status"), _patience(job))

    def _look(self, job: Object, predecessors: list[Object]) -> None:
        store = self._cache[PODS]
        # As they are by now.
        others = [found for pod in predecessors if (found := store.get(namespace_of(pod), name_of(pod))) is not None]
        pods = [*store.children(identity_of(job, self._resource)), *self.orphans.of(job), *others]
        self._going.look(Key(namespace_of(job), name_of(job)), pods, self._clock())

    async def on_error(self, key: tuple[str, str], error: Exception) -> None:
        """Report an error as a condition, in the server's words: nothing fails silently."""
        job = self._cache[self._resource].get(*key)
        words = tellable(error)
        if job is None or words is None or crowded(job):
            return
        draft = self._draft(job)
        if draft.run.finished:
            return
        given_up = isinstance(error, Terminal)
        await self._executor.report(job, (draft.stalled(*words) if given_up else draft.progressing(*words)).done())

    async def _refused(self, key: tuple[str, str], refusal: Transient, decision: Plan) -> Result:
        job = self._cache[self._resource].get(*key)
        if job is None:
            return DONE
        draft = refused(self._draft(job), refusal.reason, refusal.message)
        attempt, pods = str(draft.run.attempt), members(self._cache[PODS], job, self._resource)
        made = sum(pod["metadata"]["labels"][ATTEMPT] == attempt for pod in pods)
        # A foreign object of a pod's name is no reason either for the other pods to hold what they have.
        begun = refusal.reason == Reason.CREATE_REFUSED or (refusal.reason == Reason.NAME_CONFLICT and made)
        if decision.least is not None and begun:
            await self._executor.report(job, take_back(draft, made, decision.least).done())
            return Result(requeue_after=0.0)
        await self._executor.report(job, draft.done())
        policy = RunPolicy(startup_deadline_seconds=_startup_deadline(job))
        left = deadlines.startup_seconds_left(policy, draft.run, draft.now)
        return Result(requeue_after=soonest(deadlines.retry_refused_in(draft.run, draft.now), left))

    def _draft(self, job: Object) -> StatusDraft:
        return StatusDraft(job.get("status"), job["metadata"].get("generation") or 1, self._clock())


def _patience(job: Object) -> float:
    """Seconds that pods may wait: what kept them is to be known when their time is up."""
    deadline = _startup_deadline(job)
    return min(FIRST_SECONDS, deadline / 2) if deadline is not None else FIRST_SECONDS


def _startup_deadline(job: Object) -> int | None:
    """The job's own, or that of the runtime that its status has a copy of."""
    copied = (job.get("status") or {}).get("runtime")
    settings = copied.get("settings") if isinstance(copied, dict) else None
    try:
        under = orjson.loads(settings) if isinstance(settings, str) else {}
    except ValueError:
        under = {}
    for said in (job.get("spec") or {}, under):
        policy = said.get("runPolicy") if isinstance(said, dict) else None
        deadline = policy.get("startupDeadlineSeconds") if isinstance(policy, dict) else None
        if isinstance(deadline, int) and deadline > 0:
            return deadline
    return None
