"""One piece of a large body in each turn of the loop, so that many uploads do not stand before everybody's requests.

uvloop reads from a connection up to 32 times before it looks at the next one, 8 MiB, for as long as there is something
to read. A connection that pauses while it is given a piece is read once. Called by connection.py.
"""

import asyncio
from typing import Protocol

PIECE = 64 << 10


class Reads(Protocol):
    """Connection that takes turns to be read."""

    @property
    def held_up(self) -> bool:
        """True while it does not read, for a reason of its own."""


class Turn:
    """Turn of one connection."""

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over = False

    def took(self, size: int, transport: asyncio.Transport, reads: Reads) -> None:
        """So many bytes have come. The others are next after a large piece."""
        if size < PIECE or self._over or transport.is_closing():
            return
        self._over = True
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._next, transport, reads)

    def _next(self, transport: asyncio.Transport, reads: Reads) -> None:
        self._over = False
        if not reads.held_up and not transport.is_closing():
            transport.resume_reading()
