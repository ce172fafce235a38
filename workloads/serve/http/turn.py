"""One piece of a large body in each turn of the loop, so that many uploads do not stand before everybody's requests.

uvloop reads from a connection up to 32 times before it looks at the next one, 8 MiB, for as long as there is something
to read. A connection that pauses while it is given a piece is read once; those that pause wait for each other, whatever
their number. Called by the connections of HTTP and gRPC, which share one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

PIECE = 64 << 10
# Bytes that all connections bring in a turn, in small pieces as well, before the largest of them wait.
TOGETHER = 4 * PIECE
LEAST = 4 << 10
# About microseconds of work that is no reading, of all connections that have more of it.
TURN_COST = 500
# Seconds between two large pieces, for so long after a small request: an answer takes a few turns of the loop, and a
# piece in each of them would double its time. 250 MB/s are left.
PACE, ASKED = 0.001, 0.05


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
        self._later: deque[Callable[[], None]] = deque()
        self._idlers: deque[Callable[[], None]] = deque()
        self._paced = False
        self._coming = False
        self._now = 0  # bytes of this turn
        self._spent = 0
        self._asked = -ASKED
        self._slow = False  # the next large piece waits for its time

    def took(self, size: int, transport: asyncio.Transport, reads: Reads) -> None:
        """Count bytes that have come. The others are next after a large piece."""
        if size < LEAST:
            self._asked = time.monotonic()  # most likely somebody waits for an answer
            return
        self._now += size
        if (size >= PIECE or self._now > TOGETHER) and transport not in self._paused and not transport.is_closing():
            self._paused.add(transport)
            transport.pause_reading()
            self._waiting.append((transport, reads))
        self._again()

    def spend(self, cost: int) -> None:
        """Work was done that is not counted in bytes, about so many microseconds."""
        self._spent += cost

    def wait(self, go_on: Callable[[], None], idles: bool = False) -> None:
        """There is more to do than one connection may in a turn. `idles`: most of it so far has asked for nothing.

        Of those that idle one goes on at a time, and not in every turn: whoever sends nothing but pings, or streams
        that it gives up at once, would have the loop for half of the time.
        """
        if not idles:
            self._later.append(go_on)
            self._again()
            return
        self._idlers.append(go_on)
        if not self._paced:
            self._paced = True
            asyncio.get_running_loop().call_later(PACE, self._idle)

    def _idle(self) -> None:
        self._paced = False
        self._idlers.popleft()()
        if self._idlers and not self._paced:
            self._paced = True
            asyncio.get_running_loop().call_later(PACE, self._idle)

    def _again(self) -> None:
        if not self._coming:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._coming, self._now, self._spent = False, 0, 0
        if self._waiting and not self._slow:
            if time.monotonic() - self._asked < ASKED:
                self._slow = True
                asyncio.get_running_loop().call_later(PACE, self._piece)
            else:
                self._resume()
        for _ in range(len(self._later)):
            self._later.popleft()()
            if self._spent >= TURN_COST:
                break
        if (self._waiting and not self._slow) or self._later:
            self._again()

    def _piece(self) -> None:
        self._slow = False
        self._resume()
        if self._waiting:
            self._again()

    def _resume(self) -> None:
        """Let the next one be read once."""
        while self._waiting:
            transport, reads = self._waiting.popleft()
            self._paused.discard(transport)
            if not reads.held_up and not transport.is_closing():
                transport.resume_reading()
                break
