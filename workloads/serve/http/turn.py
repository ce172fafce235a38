"""One piece of a large body in each turn of the loop, so that many uploads do not stand before everybody's requests.

uvloop reads from a connection up to 32 times before it looks at the next one, 8 MiB, for as long as there is something
to read. A connection that pauses while it is given a piece is read once; those that pause wait for each other, whatever
their number. Called by the connections of HTTP and gRPC, which share one.
"""

import asyncio
from collections import deque
from typing import Protocol

PIECE = 64 << 10
# Bytes that all connections bring in a turn, in small pieces as well, before the largest of them wait.
TOGETHER = 4 * PIECE
LEAST = 4 << 10


class Reads(Protocol):
    """Connection that takes turns to be read."""

    @property
    def held_up(self) -> bool:
        """True while it does not read, for a reason of its own."""


class Turns:
    """Turns of all connections of a server."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Transport, Reads]] = deque()
        self._paused: set[asyncio.Transport] = set()
        self._coming = False
        self._now = 0  # bytes of this turn

    def took(self, size: int, transport: asyncio.Transport, reads: Reads) -> None:
        """So many bytes have come. The others are next after a large piece."""
        if size < LEAST:
            return
        self._now += size
        if (size >= PIECE or self._now > TOGETHER) and transport not in self._paused and not transport.is_closing():
            self._paused.add(transport)
            transport.pause_reading()
            self._waiting.append((transport, reads))
        if not self._coming:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._coming, self._now = False, 0
        while self._waiting:
            transport, reads = self._waiting.popleft()
            self._paused.discard(transport)
            if not reads.held_up and not transport.is_closing():
                transport.resume_reading()
                break
        if self._waiting:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._next)
