"""One look at an InferenceService: read the cache, decide, do. All I/O of the kind is here."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from slipway.api.serving.inferenceservice import spec_problems
from slipway.inferenceservice import draining, made_by, ownership
from slipway.inferenceservice.activator.activator_poller import LARGEST, LONGEST, MOST, ActivatorPoller
from slipway.inferenceservice.autoscale import Size, size_of
from slipway.inferenceservice.plan import plan
from slipway.inferenceservice.service import INFERENCE_SERVICES, JOBS, Platform
from slipway.inferenceservice.state import Observed
from slipway.inferenceservice.status import SOFT_FIELDS
from slipway.inferenceservice.telemetry.metrics_poller import MetricsPoller
from slipway.inferenceservice.telemetry.traffic_history import TrafficHistory
from slipway.reconcile.execute import Executor, Record
from slipway.reconcile.namespace_limit import Stubs
from slipway.reconcile.plan import soonest
from slipway.reconcile.pods.startup_events import StartupEvents
from slipway.reconcile.refusal import tellable
from slipway.reconcile.status import StatusDraft
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import crowded
from slipway.runtime.caching.store import Key
from slipway.runtime.client.errors import Terminal
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import (
    CONFIGMAPS,
    SERVICES,
    Object,
    Resource,
    identity_of,
    name_of,
    namespace_of,
    uid_of,
)
from slipway.runtime.controller import DONE, Result
from slipway.runtime.scraping.scrape import Scraper


class InferenceServiceReconciler:
    """The kind's reconcile, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        platform: Platform,
        sources: Mapping[str, Resource],
        record: Record,
        mark: Callable[[Key], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`sources`: the kinds whose artifacts can be served, by name. `mark`: have a service looked at again."""
        self._cache = cache
        self.platform = platform
        self._sources = sources
        self._clock = clock
        self._executor = Executor(kube, cache, INFERENCE_SERVICES, SOFT_FIELDS, record)
        self._stubs = Stubs(kube, cache, INFERENCE_SERVICES, self._executor)
        self.scraper = Scraper()
        self._interviews = MetricsPoller(self.scraper, mark, lambda key: cache[INFERENCE_SERVICES].get(*key), clock)
        self.listener = Scraper(timeout=LONGEST, concurrency=MOST, share=None, largest=LARGEST)
        self._complaints = StartupEvents(kube)
        self._demands = ActivatorPoller(self.listener, mark, clock)

    async def reconcile(self, key: Key) -> Result:
        """Bring the service one step further; raises Transient, Terminal or ApiError."""
        status = (self._cache[INFERENCE_SERVICES].get(*key) or {}).get("status")
        late = await self._complaints.look(key, ownership.of_key(self._cache, key), status)
        service = self._cache[INFERENCE_SERVICES].get(*key)
        if service is None:
            for remembered in (self._interviews, self._demands):
                remembered.keep_only(uid_of(there) for there in self._cache[INFERENCE_SERVICES])
            return DONE
        if crowded(service):
            return await self._stubs.reconcile(service, self._draft(service))
        memory, now = self._interviews.of(service), self._clock()
        activators = self._complaints.told(key, ownership.activating(self._cache, service))
        observed = self._demands.beside(service, self._around(service, memory), activators)
        size = self._size(service, observed, memory, now)
        wait = await self._executor.execute(service, plan(service, observed, size, self.platform, now))
        # What was just written may be what makes a question due, and its echo wakes nobody.
        written = self._cache[INFERENCE_SERVICES].get(*key) or service
        due = self._interviews.ask(key, written, observed.pods), self._demands.ask(key, written, activators)
        return Result(requeue_after=soonest(wait, late, *due))

    def _size(self, service: Object, observed: Observed, memory: TrafficHistory, now: datetime) -> Size:
        spec, _ = spec_problems(name_of(service), service.get("spec") or {})
        if spec is None:
            return Size(0, None)
        figures = observed.pods, memory.window, memory.history
        size = size_of(spec, service.get("status") or {}, *figures, now, observed.activator_state)
        memory.history = size.history
        return size

    def _around(self, service: Object, memory: TrafficHistory) -> Observed:
        cache, owner = self._cache, identity_of(service, INFERENCE_SERVICES)
        kinds = (SERVICES, CONFIGMAPS, JOBS, *self.platform.optional)
        children = {kind: {name_of(o): o for o in cache[kind].children(owner)} for kind in kinds}
        told = partial(self._complaints.told, Key(namespace_of(service), name_of(service)))
        pods, builds = told(ownership.serving(cache, service)), told(ownership.building(cache, children[JOBS].values()))
        figures = memory.window, memory.unread, memory.given_up, memory.model
        source = made_by.source(cache, self._sources, service)
        beside = source, *figures, builds, ownership.activator(cache, service)
        adapters = made_by.adapters(cache, self._sources, service)
        made, leaving = ownership.revisions(cache, service), draining.leaving(cache, pods)
        return Observed(made, pods, children, *beside, adapter_jobs=adapters, leaving=leaving)

    def waiting_for(self, kind: str, key: Key) -> list[Key]:
        """The services that serve what this job makes: they are looked at when it changes."""
        there = (service for service in self._cache[INFERENCE_SERVICES] if namespace_of(service) == key.namespace)
        return [Key(key.namespace, name_of(service)) for service in there if made_by.named(service, kind, key.name)]

    async def on_error(self, key: Key, error: Exception) -> None:
        """Report an error, for nothing fails silently: the condition says what the server said."""
        service, words = self._cache[INFERENCE_SERVICES].get(*key), tellable(error)
        if service is None or words is None or crowded(service):
            return
        draft = self._draft(service)
        told = draft.stalled(*words) if isinstance(error, Terminal) else draft.progressing(*words)
        await self._executor.report(service, told.done())

    def _draft(self, service: Object) -> StatusDraft:
        return StatusDraft(service.get("status"), service["metadata"].get("generation") or 1, self._clock())
