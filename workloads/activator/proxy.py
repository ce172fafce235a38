"""Takes connections, holds them until a replica serves, and forwards them; gives up in words. Used by run.py.

Layer 4: what a client has sent is kept, up to a bound, and goes to the replica as it came. A client counts from its
first byte on: an open port that is only probed wakes nobody.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from workloads.activator.demand import Demand
from workloads.activator.gate import Gate, Streams
from workloads.activator.splice import CHUNK, linger, splice

LOG = logging.getLogger("slipway.activator")

# Of one held client, in bytes, and twice that in its reader; who has more to say keeps it.
KEPT = 2**14
BACKLOG = 1024


@dataclass(frozen=True)
class Limits:
    """`hold`: seconds that a client waits for a replica; `held` and `open`: clients at one time, on each port."""

    hold: float
    held: int = 1024
    open: int = 2048


Excuse = Callable[[int, str], bytes]


def in_http(status: int, words: str) -> bytes:
    """In the Open Inference Protocol's format."""
    body = json.dumps({"error": words}).encode()
    phrase = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Retry-After: 5\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def in_silence(status: int, words: str) -> bytes:
    """A gRPC client whose connection closes before the first frame reports UNAVAILABLE, which is meant."""
    return b""


class Proxy:
    """One per port."""

    def __init__(self, gate: Gate, demand: Demand, limits: Limits, excuse: Excuse) -> None:
        self._gate = gate
        self._demand = demand
        self._limits = limits
        self._excuse = excuse
        self._server: asyncio.Server | None = None
        self.port = 0
        self._clients: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def start(self, host: str | None, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=KEPT, backlog=BACKLOG)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self, seconds: float) -> None:
        """Take nobody any more; whom there is has so long to be served, then is excused or cut off."""
        if self._server is not None:
            self._server.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=seconds)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._gate.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self._client((reader, writer)))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _client(self, client: Streams) -> None:
        try:
            async with asyncio.timeout(self._limits.hold):
                data = await client[0].read(KEPT)
            if data:
                await self._said(client, data)
        except OSError:  # it has gone, or never said a word
            client[1].transport.abort()
        finally:
            client[1].close()

    async def _said(self, client: Streams, data: bytes) -> None:
        self._demand.heard()
        self._demand.open += 1
        try:
            await self._serve(client, data)
        finally:
            self._demand.open -= 1

    async def _serve(self, client: Streams, data: bytes) -> None:
        if self._waiting >= self._limits.held or len(self._clients) > self._limits.open:
            self._demand.refused += 1
            await self._give_up(client, 429, "too many requests wait for this service already: try again later")
            return
        kept = bytearray(data)
        try:
            replica = await self._held(client, kept)
        except TimeoutError:
            self._demand.expired += 1
            words = f"no replica of this service came up within {self._limits.hold:g} s: try again later"
            await self._give_up(client, 503, words)
            return
        except asyncio.CancelledError:
            await self._give_up(client, 503, "this service is moving: try again")
            raise
        if replica is None:
            self._demand.vanished += 1
            return
        self._demand.forwarded += 1
        replica[1].write(kept)
        del kept[:]
        await splice(client, replica, self._demand.heard)

    async def _held(self, client: Streams, kept: bytearray) -> Streams | None:
        """A connection to a replica, or None when the client has gone. Raises TimeoutError."""
        self._waiting += 1
        self._demand.held += 1
        reach = asyncio.create_task(self._gate.connect())
        gone = asyncio.create_task(_until_gone(client[0], kept))
        try:
            await asyncio.wait((reach, gone), timeout=self._limits.hold, return_when=asyncio.FIRST_COMPLETED)
            if reach.done():
                return reach.result()
            if gone.done():
                return None
            raise TimeoutError
        finally:
            self._waiting -= 1
            self._demand.held -= 1
            for task in (reach, gone):
                task.cancel()
            await asyncio.gather(reach, gone, return_exceptions=True)

    async def _give_up(self, client: Streams, status: int, words: str) -> None:
        LOG.info("%d: %s", status, words)
        client[1].write(self._excuse(status, words))
        await linger(client)


async def _until_gone(reader: asyncio.StreamReader, kept: bytearray) -> None:
    """Returns when the client has closed. What it sends meanwhile is kept, up to the bound."""
    while len(kept) < KEPT:
        data = await reader.read(min(CHUNK, KEPT - len(kept)))
        if not data:
            return
        kept += data
    await asyncio.Event().wait()
