"""Bounds on how often somebody may do something, and on how much all together may use up. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable


class Rate:
    """Token buckets by key: `burst` at once, then `per_second`. Bounded: the key unused for longest is forgotten."""

    def __init__(
        self, per_second: float, burst: float, *, keys: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._keys = keys
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """0 if allowed, else the seconds to wait."""
        now = self._clock()
        level, at = self._buckets.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_second)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._per_second


class Turns:
    """Turns, given ahead of time: `burst` at once, then `per_second`, in the order in which they were asked for.

    Who has to wait knows for how long, and comes once; refused by a bucket, hundreds would come for each single token.
    Of one key at most `ahead` turns lie ahead, so that the others wait no longer than that for it.
    """

    def __init__(
        self, per_second: float, burst: float, ahead: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = 1 / per_second
        self._slack = (burst - 1) / per_second
        self._ahead = ahead
        self._clock = clock
        self._next = clock()
        self._given: dict[str, deque[float]] = {}

    def take(self, key: str) -> float | None:
        """Seconds until the turn that is now this key's, 0 for at once; None where too many are ahead of it."""
        now = self._clock()
        given = self._given.pop(key, deque())
        while given and given[0] <= now:
            given.popleft()
        wait = None
        if len(given) < self._ahead:
            at = max(self._next, now - self._slack)
            self._next = at + self._pause
            wait = max(0.0, at - now)
            given.append(at)
        if given and given[-1] > now:
            self._given[key] = given
        return wait


class Budget:
    """An amount that grows by `per_second` up to `most`. What something costs is known only once it is done, so the
    level may fall below zero.
    """

    def __init__(self, per_second: float, most: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._per_second = per_second
        self._clock = clock
        self._level, self._at = most, clock()

    @property
    def level(self) -> float:
        """Amount that is left now; below zero where more was spent."""
        now = self._clock()
        self._level = min(self.most, self._level + (now - self._at) * self._per_second)
        self._at = now
        return self._level

    def spend(self, amount: float) -> None:
        """Take an amount off the level."""
        self._level -= amount
