"""Whom to ask what, and when? Puts questions to pods in the background and keeps what they said. Used by reconcile.py.

It only decides and remembers; the scraper does the asking, and each answer marks the service's key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from slipway.inferenceservice import evidence
from slipway.inferenceservice.evidence import Memory, Object
from slipway.inferenceservice.policy.traffic import Traffic, read_metrics
from slipway.inferenceservice.served import read_model
from slipway.job.plan import soonest
from slipway.runtime.resource import uid_of
from slipway.runtime.scrape import Page, Scraper
from slipway.runtime.store import Key

# A server that asks its clients for keys tells its model to who knows the service's UID: so does whoever may read the
# status, where the answer is shown.
SERVICE_HEADER = "Slipway-Service"

# A service as it is now; None when it is gone.
Lookup = Callable[[Key], Object | None]


class Interviews:
    """One memory per service, by UID."""

    def __init__(
        self, scraper: Scraper, mark: Callable[[Key], None], look: Lookup, clock: Callable[[], datetime]
    ) -> None:
        self._scraper = scraper
        self._mark = mark
        self._look = look
        self._clock = clock
        self._memories: dict[str, Memory] = {}

    def of(self, service: Object) -> Memory:
        """What is known of a service; at first what its status says of an operator before this one."""
        uid = str(service["metadata"]["uid"])
        if uid not in self._memories:
            self._memories[uid] = Memory(window=evidence.recall(service.get("status") or {}, self._clock()))
        return self._memories[uid]

    def keep_only(self, uids: Iterable[str]) -> None:
        """Forget services that are gone."""
        there = set(uids)
        self._memories = {uid: memory for uid, memory in self._memories.items() if uid in there}

    def ask(self, key: Key, service: Object, pods: Sequence[Object]) -> float | None:
        """Ask what is due; returns the seconds until something is due again, or None."""
        memory = self.of(service)
        return soonest(self._metrics(key, service, pods, memory), self._model(key, service, pods, memory))

    def _metrics(self, key: Key, service: Object, pods: Sequence[Object], memory: Memory) -> float | None:
        pause = evidence.metrics_pause(service)
        if pause is None:
            return None
        left = memory.metrics_asked + pause - self._clock().timestamp()
        if left > 0:
            return left
        urls = evidence.metrics_urls(memory, pods, self._clock())
        if urls:
            memory.metrics_asked = self._clock().timestamp()
        for pod in (pod for pod in pods if uid_of(pod) in urls):
            # Each by itself: one that keeps the operator waiting holds up nobody's figures but its own.
            uid, heard = uid_of(pod), partial(self._heard_metrics, key, memory, pod)
            if self._scraper.ask((key, "metrics", uid), key.namespace, {uid: urls[uid]}, read_metrics, heard):
                memory.asked.add(uid)
        return pause

    def _model(self, key: Key, service: Object, pods: Sequence[Object], memory: Memory) -> float | None:
        revision = evidence.model_revision(service.get("status") or {})
        if not revision or (memory.model is not None and memory.model["revision"] == revision):
            return None
        left = memory.model_asked + evidence.MODEL_SECONDS - self._clock().timestamp()
        if left > 0 and memory.model_of == revision:
            return left
        urls = evidence.model_urls(key.name, revision, pods)
        read, heard = partial(read_model, revision), partial(self._heard_model, key, memory)
        known = {SERVICE_HEADER: uid_of(service)}
        if urls and self._scraper.ask((key, "model"), key.namespace, urls, read, heard, known):
            memory.model_asked, memory.model_of = self._clock().timestamp(), revision
        return evidence.MODEL_SECONDS

    def _heard_metrics(self, key: Key, memory: Memory, pod: Object, pages: Mapping[str, Page[Traffic]]) -> None:
        service = self._look(key)
        if service is not None:
            name = evidence.window_name(service.get("status") or {})
            evidence.heard_metrics(memory, name, [pod], pages, self._clock())
            if not memory.asked:
                self._mark(key)

    def _heard_model(self, key: Key, memory: Memory, pages: Mapping[str, Page[Mapping[str, Any]]]) -> None:
        evidence.heard_model(memory, pages)
        if memory.model is not None:
            self._mark(key)
