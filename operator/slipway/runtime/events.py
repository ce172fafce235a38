"""Kubernetes Events about a resource, for `kubectl describe`: written in the background, folded, and never in the way.

Reconciles call `EventRecorder.event`, which only remembers; main runs `EventRecorder.run`, which writes
events.k8s.io/v1. The same thing said again (same object, type, reason, key) within 10 minutes becomes a series: one
Event whose `count` grows, updated at most once a minute. Memory and rate are bounded; what does not fit is dropped and
counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from slipway.runtime.client.errors import ApiError, NotFound, NotLeading, TooManyRequests, Unavailable
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import EVENTS, Object, name_of, namespace_of, uid_of
from slipway.runtime.conditions import format_micro_time, shorten

log = logging.getLogger(__name__)

NOTE_LIMIT = 1024
"""Bytes of a note that the server takes; longer ones are refused."""
FORGET_SECONDS = 600.0
SERIES_SECONDS = 60.0
MAX_TRIES = 3

EventType = Literal["Normal", "Warning"]
_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Reporter:
    """Reporter of an Event: the program, e.g. "slipway.dev/operator", and this very process, e.g. its pod's name."""

    controller: str
    instance: str


@dataclass(slots=True)
class _Series:
    """One Event, and how often it was said."""

    event: Object
    count: int
    seen_at: float
    seen: datetime
    stored: bool = False
    told: int = 0  # the count that the server knows
    told_at: float = 0.0
    scheduled: bool = False
    tries: int = 0


class EventRecorder:
    """Remembers, folds and writes Events; all in one event loop."""

    def __init__(
        self,
        kube: Kube,
        reporter: Reporter,
        *,
        capacity: int = 2048,
        per_second: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        dropped: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """At most `capacity` series are kept and `per_second` writes made; `dropped` hears of every loss."""
        self._kube = kube
        self._reporter = reporter
        self._capacity = capacity
        self._pause = 1.0 / per_second
        self._clock = clock
        self._now = now
        self._dropped = dropped
        self._series: OrderedDict[_Key, _Series] = OrderedDict()  # the one said last is at the end
        self._due: list[tuple[float, int, _Key]] = []
        self._order = 0
        self._wake = asyncio.Event()

    def event(
        self,
        regarding: Mapping[str, Any],
        type: EventType,  # noqa: A002  (the API's name for it)
        reason: str,
        note: str,
        *,
        action: str = "Reconcile",
        key: str | None = None,
    ) -> None:
        """Say something about a namespaced object. Returns at once and never raises.

        `key` tells what counts as the same thing; by default the note itself. Give one where a note carries numbers.
        """
        now, note = self._clock(), _fit(note)
        identity = (uid_of(regarding), type, reason, note if key is None else key)
        series = self._series.get(identity)
        if series is not None and now - series.seen_at < FORGET_SECONDS:
            series.count += 1
            series.seen_at, series.seen = now, self._now()
            self._series.move_to_end(identity)
            self._schedule(identity, series, series.told_at + SERIES_SECONDS if series.stored else now)
            return
        moment = self._now()
        series = _Series(_event(self._reporter, regarding, (type, reason, action, note), moment), 1, now, moment)
        self._series.pop(identity, None)
        self._series[identity] = series
        self._make_room()
        self._schedule(identity, series, now)

    async def run(self) -> None:
        """Write for ever, one Event at a time, at the bounded rate."""
        while True:
            await self._until_due()
            _, _, key = heapq.heappop(self._due)
            series = self._series.get(key)
            if series is not None and series.scheduled:
                series.scheduled = False
                await self._write(key, series)
                await asyncio.sleep(self._pause)

    async def _until_due(self) -> None:
        while (wait := self._due[0][0] - self._clock() if self._due else None) is None or wait > 0:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def _schedule(self, key: _Key, series: _Series, at: float) -> None:
        if not series.scheduled:
            series.scheduled = True
            self._order += 1
            heapq.heappush(self._due, (at, self._order, key))
            self._wake.set()

    def _make_room(self) -> None:
        """Forget the series that was quiet for longest; if the server never heard of it, that is a loss."""
        while len(self._series) > self._capacity:
            _, oldest = self._series.popitem(last=False)
            if oldest.told < oldest.count:
                self._dropped("overflow")
        if len(self._due) > 2 * self._capacity:
            self._due = [entry for entry in self._due if entry[2] in self._series]
            heapq.heapify(self._due)

    async def _write(self, key: _Key, series: _Series) -> None:
        count = series.count
        try:
            if not series.stored:
                await self._kube.create(EVENTS, series.event | _series_part(series))
            elif count > series.told:
                metadata = series.event["metadata"]
                part = _series_part(series)
                await self._kube.patch(EVENTS, metadata["namespace"], metadata["name"], part)
        except NotFound as error:
            # The server forgets Events after an hour; a namespace that is gone makes the second try fail as well.
            series.stored = False
            series.event = _renamed(series.event)
            self._again(key, series, error)
        except (TooManyRequests, Unavailable) as error:
            self._again(key, series, error)
        except (ApiError, NotLeading) as error:
            self._drop(key, series, error)
        else:
            series.stored, series.told, series.told_at, series.tries = True, count, self._clock(), 0

    def _again(self, key: _Key, series: _Series, error: ApiError) -> None:
        series.tries += 1
        if series.tries >= MAX_TRIES:
            self._drop(key, series, error)
        else:
            self._schedule(key, series, self._clock() + 2.0**series.tries)

    def _drop(self, key: _Key, series: _Series, error: ApiError | NotLeading) -> None:
        log.warning("event dropped: %s (%s)", error, series.event["note"])
        self._dropped(error.reason)
        if self._series.get(key) is series:
            del self._series[key]


def _event(
    reporter: Reporter, regarding: Mapping[str, Any], words: tuple[EventType, str, str, str], now: datetime
) -> Object:
    """An Event; `words` are type, reason, action and note."""
    kind, reason, action, note = words
    reference = {
        "apiVersion": regarding["apiVersion"],
        "kind": regarding["kind"],
        "namespace": namespace_of(regarding),
        "name": name_of(regarding),
        "uid": uid_of(regarding),
        "resourceVersion": regarding["metadata"].get("resourceVersion"),
    }
    event = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": namespace_of(regarding)},
        "eventTime": format_micro_time(now),
        "reportingController": reporter.controller,
        "reportingInstance": reporter.instance[:128],
        "action": action[:128],
        "reason": reason[:128],
        "regarding": reference,
        "type": kind,
        "note": note,
    }
    return _renamed(event)


def _renamed(event: Object) -> Object:
    """A name of its own for each Event: the object's name and a part that no other process makes."""
    name = f"{event['regarding']['name'][:200]}.{time.time_ns():x}{random.getrandbits(16):04x}"
    return event | {"metadata": event["metadata"] | {"name": name}}


def _series_part(series: _Series) -> Object:
    """A series starts with the second time something is said; the API refuses a count of 1."""
    if series.count < 2:
        return {}
    return {"series": {"count": series.count, "lastObservedTime": format_micro_time(series.seen)}}


def _fit(note: str) -> str:
    """Cut to the server's limit, which counts bytes; a kubelet's words may be of any length, and are kept as a key."""
    if len(note) <= NOTE_LIMIT and len(note.encode()) <= NOTE_LIMIT:
        return note
    return shorten(note[:NOTE_LIMIT].encode()[: NOTE_LIMIT - 3].decode("utf-8", "ignore") + "…", NOTE_LIMIT)
