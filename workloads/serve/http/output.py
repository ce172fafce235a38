"""Long replies, written in pieces: as much as the client takes, and never more in a turn of the loop.

A socket whose other end reads takes 15 MB in one go: 10 ms that stand before everybody's requests. Used by
connection.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from workloads.serve.http.message import Buffer

# Bytes that are written at once: the transport says that it is full after as many.
PIECE = 64 << 10


class Output:
    """Piece that waits to be written, of `size` bytes; `last` when nothing follows it."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self.size = 0
        self.last = False

    def add(self, parts: Sequence[Buffer], last: bool) -> None:
        """One whole reply."""
        self.last = last
        for part in parts:
            view = memoryview(part)
            self._pieces.extend(view[place : place + PIECE] for place in range(0, len(view), PIECE))
            self.size += len(view)

    def pump(self, transport: asyncio.Transport, paused: Callable[[], bool]) -> bool:
        """Write for as long as the client takes it. True when all is written and nothing follows."""
        if not self.size:
            return False
        while not paused() and (piece := self.piece()) is not None:
            transport.write(piece)
        return not self.size and self.last

    def piece(self) -> memoryview | None:
        """The next piece to be written."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Nobody reads it."""
        self._pieces.clear()
        self.size = 0


def long(parts: Sequence[Buffer]) -> bool:
    """Tell whether a reply is written in pieces."""
    return sum(map(len, parts)) > 2 * PIECE
