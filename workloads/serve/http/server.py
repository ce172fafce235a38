"""The listener and all its connections: limits that no single connection can see, slow clients, and the end.

The end is two steps. `closing`: replies say `Connection: close`, new connections are still taken, because balancers
need a while to notice. `finish`: no new connections, what is under way is answered, the rest is closed.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from workloads.pod.listener import Listener
from workloads.serve.errors import EngineFailed, QueueFull, RequestError, TooSlow
from workloads.serve.http.connection import Connection
from workloads.serve.http.message import Handle, Pending, Reply, Request, error_reply, failure_reply
from workloads.serve.http.pace import MemoryHolder, whose_turn
from workloads.serve.http.turn import Turns

LOG = logging.getLogger("slipway.serve.http")

BACKLOG = 1024


@dataclass(frozen=True)
class HttpLimits:
    """Sizes in bytes, times in seconds. A client that moves less than `slowest` bytes per second in all of
    `stall_timeout` (of a body that it sends) or `write_timeout` (of a reply that it reads) is cut off.

    `max_buffered` holds for requests and unread replies of all clients together, HTTP and gRPC.
    """

    max_body_size: int = 64 << 20
    max_buffered: int = 512 << 20
    max_connections: int = 4096
    head_timeout: float = 10.0
    slowest: float = 1024.0
    stall_timeout: float = 5.0
    # Longer than balancers keep a connection to a server (Envoy: an hour, Google's: ten minutes): whoever of the two
    # closes first loses what the other sends in that moment. A full house closes the longest idle before.
    idle_timeout: float = 3660.0
    write_timeout: float = 30.0
    half_closed: float = 2.0  # for the answer to a client that has closed its end
    linger: float = 2.0  # after the last reply, for the client to read it
    farewell: float = 1.0  # when the server ends: for a request that is on its way on an idle connection
    sweep: float = 0.5  # how often is looked for slow clients


class HttpServer:
    """`handle` answers requests; `observe` gets the status of every reply."""

    def __init__(
        self,
        handle: Handle,
        limits: HttpLimits,
        observe: Callable[[int], None] = lambda status: None,
        seal: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`seal`: what the next connection speaks TLS with."""
        self.limits = limits
        self.closing = False
        self.body_bytes = 0
        self.port = 0
        self.replied = observe
        self.turns = Turns()
        self.date = formatdate(usegmt=True).encode()
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        # Not the loop's clock: uvloop's counts milliseconds, and idle connections are told apart by less.
        self.now = time.monotonic
        self._connections: set[Connection] = set()
        self._listener = Listener(lambda: Connection(self), BACKLOG, seal)
        self._sweeper: asyncio.TimerHandle | None = None
        self._leaving = False
        self._gone: asyncio.Future[None] | None = None
        self._no_room_until = 0.0

    async def start(self, host: str, port: int) -> int:
        """Listen, on all addresses for an empty `host`. Returns the port, which the system chooses for port 0."""
        await self._listener.start(host or None, port)
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
        """Number of open connections."""
        return len(self._connections)

    def add(self, connection: Connection) -> bool:
        """Register a new connection; False when there are too many and none is idle."""
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
        """Forget a connection that is gone."""
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

    def finish_pending(self, pending: Pending) -> "Reply | Pending":
        """The promised answer, or another promise; what it raises becomes a reply."""
        try:
            return pending.finish()
        except (Exception, asyncio.CancelledError) as error:
            # Whatever one request breaks, the others are served on.
            return failure_reply(error)

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
                # What it has read is what is unsent no more; the reply may have been long.
                unread = connection.look_at_unsent()
                if connection.progress.stalled(-unread, now, limits.write_timeout, limits.slowest):
                    connection.abort()
            elif connection.halved and connection.waiting:
                if age > limits.half_closed:
                    connection.give_up_half_closed()
            elif connection.reader.reading:
                self._look_at_request(connection, now, age)
            elif connection.idle and age > idle_timeout:
                connection.end()

    def _look_at_request(self, connection: Connection, now: float, age: float) -> None:
        """Refuse a request that comes too slowly."""
        limits, reader, progress = self.limits, connection.reader, connection.progress
        if not reader.in_body:
            if age > limits.head_timeout:
                connection.refuse(TooSlow(f"the request was not whole after {age:.0f} s"))
        elif connection.held_up:
            progress.wait(now)
        elif progress.stalled(reader.received, now, min(limits.stall_timeout, limits.head_timeout), limits.slowest):
            connection.refuse(TooSlow(f"less than {limits.slowest:g} bytes/s of the body came in the last seconds"))

    def take(self, size: int) -> bool:
        """Count bytes of a request that came another way; False when there is no room for them."""
        if self.body_bytes + size > self.limits.max_buffered:
            return False
        self.body_bytes += size
        return True

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""
        self.body_bytes -= size

    def make_room(self, asking: Connection) -> bool:
        """Give up what others hold, as `pace` says; False when it is `asking` that must go."""
        now = self.now()
        if now < self._no_room_until:
            return False
        while (before := self.body_bytes) > self.limits.max_buffered:
            connections = list(self._connections)
            holders = [_holder(number, one) for number, one in enumerate(connections) if one.held]
            mine = next((holder for holder in holders if connections[holder.number] is asking), None)
            loser = whose_turn(holders, mine) if mine is not None else None
            if loser is not None:
                _give_up(connections[loser.number])
            if self.body_bytes >= before:
                # Looking at all connections takes a moment; whoever asks next finds them as they are.
                self._no_room_until = now + self.limits.sweep
                return False
        return True


def _holder(number: int, connection: Connection) -> MemoryHolder:
    loose = connection.write_paused or (connection.reader.in_body and not connection.waiting)
    return MemoryHolder(number, connection.peer, connection.held, connection.progress.quiet, loose)


def _give_up(connection: Connection) -> None:
    if connection.write_paused:
        connection.abort()
        connection.forget()
    else:
        connection.refuse(QueueFull("too many bytes of requests are in memory, and this one came slowest", 1))
