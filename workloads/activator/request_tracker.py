"""Demand for the service: counted by the proxy, reported by the control port, read by the operator."""

import asyncio
import time
from collections.abc import Callable, Iterator


class RequestTracker:
    """Demand for the service: one per process.

    `held`: clients that wait for a replica; `open`: all connections that have said something.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._heard_at: float | None = None
        self._heard = asyncio.Event()
        self.held = 0
        self.open = 0
        self.forwarded = 0
        self.expired = 0
        self.refused = 0
        self.vanished = 0

    def heard(self) -> None:
        """A client has sent something: no scan of ports and no balancer's probe does that."""
        self._heard_at = self._clock()
        self._heard.set()

    async def until_heard(self, seconds: float) -> None:
        """Returns when somebody waits or sends something from now on, at the latest after so long."""
        if self.held:
            return
        self._heard.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            return

    def text(self) -> bytes:
        """Prometheus' text format. No idle seconds before the first client."""
        lines = []
        for name, kind, value, words in self._all():
            lines.append(f"# HELP {name} {words}\n# TYPE {name} {kind}\n{name} {value}\n")
        return "".join(lines).encode()

    def _all(self) -> Iterator[tuple[str, str, float, str]]:
        yield "slipway_activator_held", "gauge", self.held, "Clients that wait for a replica."
        yield "slipway_activator_connections", "gauge", self.open, "Open connections of clients."
        yield "slipway_activator_forwarded_total", "counter", self.forwarded, "Connections led to a replica."
        yield "slipway_activator_expired_total", "counter", self.expired, "Clients that waited in vain."
        yield "slipway_activator_refused_total", "counter", self.refused, "Clients for whom there was no room."
        yield "slipway_activator_vanished_total", "counter", self.vanished, "Clients that went while they waited."
        if self._heard_at is not None:
            idle = 0.0 if self.held else self._clock() - self._heard_at
            yield "slipway_activator_idle_seconds", "gauge", round(idle, 3), "Since a client sent something."
