"""The listener and all its connections: limits that no single connection can see, slow clients, and the end.

The end is two steps. `closing`: replies say `Connection: close`, new connections are still taken, because balancers
need a while to notice. `finish`: no new connections, what is under way is answered, the rest is closed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from workloads.listener import Listener
from workloads.serve.errors import EngineFailed, RequestError, TooSlow
from workloads.serve.http.connection import Connection
from workloads.serve.http.message import Handle, Pending, Reply, Request, error_reply

LOG = logging.getLogger("slipway.serve.http")

BACKLOG = 1024


@dataclass(frozen=True)
class HttpLimits:
    """Sizes in bytes, times in seconds, `slowest` in bytes per second of body once `head_timeout` is over."""

    max_body_size: int = 64 << 20
    max_buffered: int = 512 << 20
    max_connections: int = 4096
    head_timeout: float = 10.0
    slowest: float = 1024.0
    idle_timeout: float = 75.0
    write_timeout: float = 30.0
    linger: float = 2.0  # after the last reply, for the client to read it
    farewell: float = 1.0  # when the server ends: for a request that is on its way on an idle connection
    sweep: float = 0.5  # how often is looked for slow clients


class HttpServer:
    """`handle` answers requests; `observe` gets the status of every reply."""

    def __init__(
        self, handle: Handle, limits: HttpLimits, observe: Callable[[int], None] = lambda status: None
    ) -> None:
        self.limits = limits
        self.closing = False
        self.body_bytes = 0
        self.port = 0
        self.replied = observe
        self.date = formatdate(usegmt=True).encode()
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        # Not the loop's clock: uvloop's counts milliseconds, and idle connections are told apart by less.
        self.now = time.monotonic
        self._connections: set[Connection] = set()
        self._listener = Listener(lambda: Connection(self), BACKLOG)
        self._sweeper: asyncio.TimerHandle | None = None
        self._leaving = False
        self._gone: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port, which is chosen by the system for port 0."""
        await self._listener.start(host, port)
        self._sweep()
        self.port = self._listener.port
        return self.port

    async def finish(self, seconds: float) -> int:
        """Stop listening, answer what is under way, close the rest. Returns how many requests were cut off."""
        self.closing = self._leaving = True
        await self._listener.close()
        self._look_for_slow()
        if self._connections:
            self._gone = self._loop.create_future()
            await asyncio.wait([self._gone], timeout=seconds)
        cut = [connection for connection in self._connections if connection.waiting]
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return len(cut)

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    def add(self, connection: Connection) -> bool:
        """A new connection; False when there are too many and none is idle."""
        self._connections.add(connection)
        if len(self._connections) <= self.limits.max_connections:
            return True
        idle = (other for other in self._connections if other is not connection and other.idle)
        longest = min(idle, key=lambda other: other.since, default=None)
        if longest is None:
            return False
        longest.abort()
        return True

    def remove(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        if not self._connections and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def respond(self, request: Request) -> "Reply | Pending":
        """The application's answer; what it raises becomes a reply."""
        try:
            return self._handle(request)
        except RequestError as error:
            return error_reply(error)
        except Exception:
            # Whatever one request breaks, the others are served on; its client gets a 500 and the log the traceback.
            LOG.exception("%s %s failed", request.method, request.path)
            return error_reply(EngineFailed("an error of the server's own, which is in its log"))

    def finish_pending(self, pending: Pending) -> Reply:
        """The promised answer; what it raises becomes a reply."""
        try:
            return pending.finish()
        except RequestError as error:
            return error_reply(error)
        except asyncio.CancelledError:
            return error_reply(EngineFailed("the request was cancelled"))
        except Exception:
            # As above: one request's failure is one request's reply.
            LOG.exception("a request failed")
            return error_reply(EngineFailed("an error of the server's own, which is in its log"))

    def _sweep(self) -> None:
        """Regularly, instead of a timer for each connection."""
        self._sweeper = self._loop.call_later(self.limits.sweep, self._sweep)
        self.date = formatdate(usegmt=True).encode()
        self._look_for_slow()

    def _look_for_slow(self) -> None:
        now, limits = self.now(), self.limits
        idle_timeout = limits.farewell if self._leaving else limits.idle_timeout
        for connection in list(self._connections):
            age = now - connection.since
            if connection.ending:
                if age > limits.linger:
                    connection.abort()
            elif connection.write_paused:
                if age > limits.write_timeout:
                    connection.abort()
            elif (reader := connection.reader).reading:
                if age > limits.head_timeout and (not reader.in_body or reader.received < limits.slowest * age):
                    connection.refuse(TooSlow(f"the request was not whole after {age:.0f} s"))
            elif connection.idle and age > idle_timeout:
                connection.end()
