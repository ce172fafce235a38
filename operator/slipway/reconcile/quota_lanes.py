"""One gang at a time where a quota is short: of two that are made together each would get half of what is left.

Both would then be taken back, and try again at once, without end. Elsewhere gangs do not wait for each other.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from slipway.reconcile.plan import Write
from slipway.runtime.client.resource import PODS

# A namespace that has refused nothing for so long is not short of anything.
SHORT_SECONDS = 600.0


class QuotaLanes:
    """Record of refusals and of gangs in the making, by namespace.

    In memory only, since a new process makes no two gangs together that were refused before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[str, float] = {}
        self._making: Counter[str] = Counter()

    def refused(self, namespace: str) -> None:
        """Note that the server did not let a child be made in this namespace."""
        now = self._clock()
        self._refused = {name: at for name, at in self._refused.items() if now - at < SHORT_SECONDS} | {namespace: now}

    @contextmanager
    def enter(self, namespace: str, writes: Iterable[Write]) -> Iterator[bool]:
        """Tell whether these may be written now; they are until the end of the block."""
        if not any(write.resource is PODS for write in writes):
            yield True
        elif self._making[namespace] and self._short(namespace):
            yield False
        else:
            self._making[namespace] += 1
            try:
                yield True
            finally:
                self._making[namespace] -= 1
                self._making += Counter()

    def _short(self, namespace: str) -> bool:
        return self._clock() - self._refused.get(namespace, -SHORT_SECONDS) < SHORT_SECONDS
