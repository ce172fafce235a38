"""Takes connections, holds them until a replica serves, and forwards them; gives up in words. Used by run.py.

Layer 4: what a client has sent is kept, up to a bound, and goes to the replica as it came. A client counts from its
first byte on: an open port that is only probed wakes nobody.
"""

import asyncio
import contextlib
import logging
from asyncio import FIRST_COMPLETED as FIRST
from dataclasses import dataclass

from workloads.activator.backend import Backend, Streams
from workloads.activator.request_tracker import RequestTracker
from workloads.activator.splice import CHUNK, linger, splice
from workloads.activator.wire_protocol import RequestDetector, WireProtocol, sealed
from workloads.pod.listener import Listener

LOG = logging.getLogger("slipway.activator")

# Of one held client, in bytes, and twice that in its reader; who has more to say keeps it.
KEPT = 2**14
BACKLOG = 1024
# Who is served sooner is not held, as far as it can tell.
SOON = 1.0
# For a client to answer a greeting.
COURTESY = 5.0


@dataclass(frozen=True)
class Limits:
    """`hold`: seconds that a client waits for a replica; `held` and `open`: clients at one time, on each port."""

    hold: float
    held: int = 1024
    open: int = 2048


class Proxy:
    """Proxy of one port."""

    def __init__(self, backend: Backend, tracker: RequestTracker, limits: Limits, protocol: WireProtocol) -> None:
        self._gate = backend
        self._demand = tracker
        self._limits = limits
        self._manner = protocol
        self._listener = Listener(self._protocol, BACKLOG)
        self._clients: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()

    async def start(self, host: str | None, port: int) -> None:
        """Listen."""
        await self._listener.start(host, port)

    @property
    def port(self) -> int:
        """Number of the port that the proxy listens on."""
        return self._listener.port

    async def close(self, seconds: float) -> None:
        """Take nobody any more. Who is held may wait as long as ever; then all have so long, and are cut off."""
        await self._listener.close()
        await self._nobody_waits.wait()
        if self._clients:
            await asyncio.wait(self._clients, timeout=seconds)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._gate.close()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=KEPT), self._accept)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self._client((reader, writer)))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _client(self, client: Streams) -> None:
        try:
            async with asyncio.timeout(self._limits.hold):
                data = await client[0].read(KEPT)
            detector = self._manner.detector()
            if data and not detector.asks(data):
                data = await self._until_asked(client, data, detector)
            if data:
                await self._said(client, data, detector)
        except OSError:  # it has gone, or never said a word
            client[1].transport.abort()
        finally:
            client[1].close()

    async def _until_asked(self, client: Streams, data: bytes, detector: RequestDetector) -> bytes:
        """A channel that connects and asks nothing wakes nobody: it is greeted, so that it has its connection, and
        stands there. What it has said when it asks; nothing when it goes.
        """
        kept, asked = bytearray(data), False
        greeting = self._manner.greeting(data)
        client[1].write(greeting)
        settled, hold = not greeting, self._limits.hold
        try:
            while not (asked and settled) and len(kept) < KEPT:
                async with asyncio.timeout(hold if settled else min(COURTESY, hold)):
                    more = await client[0].read(KEPT - len(kept))
                if not more:
                    return b""
                kept += more
                asked = detector.asks(more) or asked
                settled = settled or self._manner.settle(kept)
        except TimeoutError:
            if settled or hold <= COURTESY:
                self._demand.expired += 1
            else:
                self._demand.vanished += 1
            return b""
        return bytes(kept)

    async def _said(self, client: Streams, data: bytes, detector: RequestDetector) -> None:
        self._demand.heard()
        self._demand.open += 1
        try:
            await self._serve(client, data, detector)
        finally:
            self._demand.open -= 1

    async def _serve(self, client: Streams, data: bytes, detector: RequestDetector) -> None:
        if self._waiting >= self._limits.held or len(self._clients) > self._limits.open:
            self._demand.refused += 1
            await self._give_up(client, data, 429, "too many requests wait for this service already: try again later")
            return
        held = _HeldClient(client, bytearray(data), self._manner)
        try:
            replica = await self._held(held)
        except TimeoutError:
            self._demand.expired += 1
            words = f"no replica of this service came up within {self._limits.hold:g} s: try again later"
            await self._give_up(client, data, 503, words)
            return
        if replica is None:
            self._demand.vanished += 1
            return
        self._demand.forwarded += 1
        replica[1].write(held.kept)
        await splice(client, replica, lambda said: self._demand.heard() if detector.asks(said) else None)

    async def _held(self, held: "_HeldClient") -> Streams | None:
        """A connection to a replica, or None when the client has gone. Raises TimeoutError."""
        self._waiting += 1
        self._nobody_waits.clear()
        self._demand.held += 1
        reach = asyncio.create_task(self._gate.connect())
        gone = asyncio.create_task(held.until_gone())
        try:
            await asyncio.wait((reach, gone), timeout=min(SOON, self._limits.hold), return_when=FIRST)
            if not (reach.done() or gone.done()):
                held.greet()
                await asyncio.wait((reach, gone), timeout=self._limits.hold, return_when=FIRST)
            if not (reach.done() or gone.done()):
                raise TimeoutError
            if reach.done() and await held.settled():
                return reach.result()
            if reach.done():
                reach.result()[1].close()
            return None
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._nobody_waits.set()
            self._demand.held -= 1
            for task in (reach, gone):
                task.cancel()
            await asyncio.gather(reach, gone, return_exceptions=True)

    async def _give_up(self, client: Streams, said: bytes, status: int, words: str) -> None:
        LOG.info("%d: %s", status, words)
        if not sealed(said):
            client[1].write(self._manner.excuse(status, words))
        await linger(client)


class _HeldClient:
    """A client that waits, and what it has said meanwhile."""

    def __init__(self, client: Streams, kept: bytearray, protocol: WireProtocol) -> None:
        self._reader, self._writer = client
        self.kept = kept
        self._manner = protocol
        self._settled = asyncio.Event()
        self._settled.set()

    def greet(self) -> None:
        """Send the greeting of the protocol, so that the client does not give up."""
        greeting = self._manner.greeting(bytes(self.kept))
        if greeting:
            self._settled.clear()
            self._writer.write(greeting)

    async def settled(self) -> bool:
        """Wait until the client has answered the greeting, if one was sent; False when it takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COURTESY):
                await self._settled.wait()
        return self._settled.is_set()

    async def until_gone(self) -> None:
        """Returns when the client has closed. What it sends meanwhile is kept, up to the bound."""
        while len(self.kept) < KEPT:
            data = await self._reader.read(min(CHUNK, KEPT - len(self.kept)))
            if not data:
                return
            self.kept += data
            if not self._settled.is_set() and self._manner.settle(self.kept):
                self._settled.set()
        await asyncio.Event().wait()
