"""The listener of HTTP/2 and all its connections: limits that no single connection can see, slow clients, the end."""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from workloads.pod.listener import Listener
from workloads.serve.http.turn import Turns
from workloads.serve.http2.connection import Connection
from workloads.serve.http2.hpack import Header
from workloads.serve.http2.stream import Owner, Stream

BACKLOG = 1024


@dataclass(frozen=True)
class Times:
    """Seconds: for a client's first bytes, for one that does not read, between two looks, to take leave."""

    begin: float = 10.0
    write: float = 30.0
    sweep: float = 0.5
    farewell: float = 0.1


class Opens(Protocol):
    """Maker of an owner for each new stream."""

    def open(self, stream: Stream, headers: tuple[Header, ...]) -> Owner:
        """The stream has begun with these headers."""

    def sweep(self) -> None:
        """Look at those who wait, now and then."""


class Http2Server:
    """`turns` are shared with other servers of the same loop."""

    def __init__(
        self,
        opens: Opens,
        most: int,
        turns: Turns | None = None,
        seal: Callable[[], ssl.SSLContext] | None = None,
        times: Times | None = None,
    ) -> None:
        """`most` connections; `seal`: what the next one speaks TLS with."""
        self.turns = turns or Turns()
        self.now = time.monotonic
        self.opened = 0  # streams so far
        self.open = opens.open
        self._opens = opens
        self._most = most
        self._times = times or Times()
        self._connections: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(lambda: Connection(self), BACKLOG, seal)
        self._sweeper: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, on all addresses for an empty `host`. Returns the port, which the system chooses for port 0."""
        await self._listener.start(host or None, port)
        self._sweep()
        return self._listener.port

    async def finish(self, seconds: float) -> None:
        """Take no new streams; those under way have so long."""
        await self._listener.close()
        # In two steps: what a client has sent before it could know is still answered.
        for last in (False, True):
            for connection in list(self._connections):
                connection.leave(last)
            if not last and self._connections and seconds:
                await asyncio.sleep(min(seconds, self._times.farewell))
        if self._connections and seconds:
            self._gone = self._loop.create_future()
            await asyncio.wait([self._gone], timeout=seconds)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def add(self, connection: Connection) -> bool:
        """Register a new connection; False when there are too many and none is idle."""
        if len(self._connections) >= self._most:
            idle = [other for other in self._connections if not other.streams]
            longest = min(idle, key=lambda other: other.since, default=None)
            if longest is None:
                return False
            longest.leave(last=True)
            self._connections.discard(longest)
        self._connections.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)
        if not self._connections and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(self._times.sweep, self._sweep)
        now = self.now()
        for connection in list(self._connections):
            connection.look(now, self._times.begin, self._times.write)
        self._opens.sweep()
