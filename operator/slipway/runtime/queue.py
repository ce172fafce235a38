"""Work queue of keys. Fed by watch events and by reconciles themselves, drained by `controller`'s workers.

A key is never worked twice at once, and a mark that arrives while it is worked is not lost: it runs once more. Delayed
marks (requeue_after, deadlines, backoff) live in one heap; there is no timer per object. One event loop, no threads.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 0.005
MAX_BACKOFF = 300.0


class QueueClosed(Exception):  # noqa: N818
    """`get` will never return a key again."""


class WorkQueue(Generic[K]):
    """A keyed queue. `depth`, `in_flight`, `delayed` are gauges, `adds` and `retries` only grow."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
        observe_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`clock` in seconds, `rng` uniform in [0, 1); `observe_wait` gets the seconds each key waited to be worked."""
        self._clock = clock
        self._rng = rng
        self._observe_wait = observe_wait
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # key -> when it was first marked; a superset of _ready
        self._in_flight: set[K] = set()
        self._due: dict[K, float] = {}  # key -> its one delayed mark; the heap may hold outdated entries beside it
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.adds = 0
        self.retries = 0

    @property
    def depth(self) -> int:
        """Keys that need work and are not delayed."""
        return len(self._dirty)

    @property
    def in_flight(self) -> int:
        """Keys being worked right now."""
        return len(self._in_flight)

    @property
    def delayed(self) -> int:
        """Keys with a mark that is not due yet."""
        return len(self._due)

    def mark(self, key: K) -> None:
        """Mark a key that needs work now. A delayed mark of the same key stays: it may be a deadline."""
        if key in self._dirty or self._closed:
            return
        self.adds += 1
        self._dirty[key] = self._clock()
        if key not in self._in_flight:
            self._ready.append(key)
            self._wake()

    def mark_after(self, key: K, seconds: float) -> None:
        """Mark a key that needs work in `seconds`; of several delayed marks of one key the earliest wins."""
        if seconds <= 0:
            return self.mark(key)
        due = self._clock() + seconds
        if self._closed or self._due.get(key, float("inf")) <= due:
            return None
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        self._compact()
        if self._heap[0][2] == key:
            self._wake()  # a waiter sleeps until what used to be the earliest
        return None

    def backoff(self, key: K, at_least: float = 0.0) -> float:
        """A key failed: mark it after 5 ms * 2^failures (at most 5 minutes) with jitter; returns the seconds.

        `at_least` is a server's Retry-After; it is not capped.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        ceiling = min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 32))
        seconds = max(at_least, ceiling * (0.5 + self._rng() / 2))
        self.mark_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """This key succeeded: its next failure starts from the shortest backoff again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Failures in a row of this key."""
        return self._failures.get(key, 0)

    def reorder(self, urgent: Callable[[K], bool]) -> None:
        """Have the urgent keys worked first, and each part in an order of chance.

        For a start, where all keys come in the order of a LIST: a process that ends again and again before it is
        through would begin with the same ones each time, and never come to the last.
        """
        self._ready = deque(sorted(self._ready, key=lambda key: (not urgent(key), self._rng())))

    async def get(self) -> K:
        """The next key, which is then in flight until `done`. Raises QueueClosed after `shutdown`."""
        while not self._closed:
            key = self.take()
            if key is not None:
                return key
            await self._wait()
        raise QueueClosed

    def take(self) -> K | None:
        """Like `get`, but None if nothing is due."""
        self._promote()
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._in_flight.add(key)
        self._observe_wait(self._clock() - self._dirty.pop(key))
        return key

    def done(self, key: K) -> None:
        """The work on this key has ended, well or badly."""
        self._in_flight.remove(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def next_due(self) -> float | None:
        """The clock's time at which the earliest delayed mark is due, or None."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def shutdown(self) -> None:
        """Hand out nothing any more; keys in flight may still be `done`."""
        self._closed = True
        while self._waiters:
            self._wake()

    def _promote(self) -> None:
        """Turn delayed marks that are due into plain ones."""
        while (due := self.next_due()) is not None and due <= self._clock():
            _, _, key = heapq.heappop(self._heap)
            del self._due[key]
            self.mark(key)

    def _compact(self) -> None:
        """Drop outdated heap entries once they are the majority: a key marked ever earlier leaves many behind."""
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    async def _wait(self) -> None:
        """Sleep until a mark, or until a delayed mark is due."""
        due = self.next_due()
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await waiter
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # the mark that woke us is now somebody else's
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
