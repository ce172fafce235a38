"""Poller of pods that serve: asks for figures and model in the background, and keeps the answers. For reconcile.py.

It only decides and remembers; the scraper does the asking, and each answer marks the service's key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from slipway.inferenceservice.policy.traffic import Traffic, read_metrics
from slipway.inferenceservice.telemetry import traffic_history
from slipway.inferenceservice.telemetry.served_model import read_model
from slipway.inferenceservice.telemetry.traffic_history import Object, TrafficHistory
from slipway.reconcile.plan import soonest
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import uid_of
from slipway.runtime.scraping.scrape import Scraper, ScrapeResult

# A server that asks its clients for keys tells its model to who knows the service's UID: so does whoever may read the
# status, where the answer is shown.
SERVICE_HEADER = "Slipway-Service"

# A service as it is now; None when it is gone.
Lookup = Callable[[Key], Object | None]


class MetricsPoller:
    """One memory per service, by UID."""

    def __init__(
        self, scraper: Scraper, mark: Callable[[Key], None], look: Lookup, clock: Callable[[], datetime]
    ) -> None:
        self._scraper = scraper
        self._mark = mark
        self._look = look
        self._clock = clock
        self._memories: dict[str, TrafficHistory] = {}

    def of(self, service: Object) -> TrafficHistory:
        """Memory of a service; at first what its status says of an operator before this one."""
        uid = str(service["metadata"]["uid"])
        if uid not in self._memories:
            self._memories[uid] = TrafficHistory(
                window=traffic_history.recall(service.get("status") or {}, self._clock())
            )
        return self._memories[uid]

    def keep_only(self, uids: Iterable[str]) -> None:
        """Forget services that are gone."""
        there = set(uids)
        self._memories = {uid: memory for uid, memory in self._memories.items() if uid in there}

    def ask(self, key: Key, service: Object, pods: Sequence[Object]) -> float | None:
        """Ask what is due; returns the seconds until something is due again, or None."""
        memory = self.of(service)
        return soonest(self._metrics(key, service, pods, memory), self._model(key, service, pods, memory))

    def _metrics(self, key: Key, service: Object, pods: Sequence[Object], memory: TrafficHistory) -> float | None:
        pause = traffic_history.metrics_pause(service)
        if pause is None:
            return None
        left = memory.metrics_asked + pause - self._clock().timestamp()
        if left > 0:
            return left
        urls = traffic_history.metrics_urls(memory, pods, self._clock())
        if urls:
            memory.metrics_asked = self._clock().timestamp()
        for pod in (pod for pod in pods if uid_of(pod) in urls):
            # Each by itself: one that keeps the operator waiting holds up nobody's figures but its own.
            uid, heard = uid_of(pod), partial(self._heard_metrics, key, memory, pod)
            if self._scraper.ask((key, "metrics", uid), key.namespace, {uid: urls[uid]}, read_metrics, heard):
                memory.asked.add(uid)
        return pause

    def _model(self, key: Key, service: Object, pods: Sequence[Object], memory: TrafficHistory) -> float | None:
        revision = traffic_history.model_revision(service.get("status") or {})
        if not revision or (memory.model is not None and memory.model["revision"] == revision):
            return None
        left = memory.model_asked + traffic_history.MODEL_SECONDS - self._clock().timestamp()
        if left > 0 and memory.model_of == revision:
            return left
        urls = traffic_history.model_urls(key.name, revision, pods)
        read, heard = partial(read_model, revision), partial(self._heard_model, key, memory)
        known = {SERVICE_HEADER: uid_of(service)}
        if urls and self._scraper.ask((key, "model"), key.namespace, urls, read, heard, known):
            memory.model_asked, memory.model_of = self._clock().timestamp(), revision
        return traffic_history.MODEL_SECONDS

    def _heard_metrics(
        self, key: Key, memory: TrafficHistory, pod: Object, pages: Mapping[str, ScrapeResult[Traffic]]
    ) -> None:
        service = self._look(key)
        if service is not None:
            name = traffic_history.window_name(service.get("status") or {})
            traffic_history.heard_metrics(memory, name, [pod], pages, self._clock())
            if not memory.asked:
                self._mark(key)

    def _heard_model(
        self, key: Key, memory: TrafficHistory, pages: Mapping[str, ScrapeResult[Mapping[str, Any]]]
    ) -> None:
        traffic_history.heard_model(memory, pages)
        if memory.model is not None:
            self._mark(key)
