"""A body that comes in pieces: kept as they came, or, from a megabyte on, in one place of its own.

Putting a large body together afterwards takes twice its memory, and giving a thousand pieces back takes milliseconds,
with the interpreter held. Used by reader.py, and by the messages of gRPC.
"""

from collections.abc import Sequence

from workloads.serve.http.message import Buffer
from workloads.serve.http.places import place

# Bytes that are kept in pieces; moving them takes a fraction of a millisecond.
IN_PIECES = 1 << 20


class Body:
    """`size` bytes so far."""

    __slots__ = ("_most", "_pieces", "_place", "size")

    def __init__(self, most: int) -> None:
        """`most` bytes may come. Untouched ones take no memory."""
        self._most = most
        self._pieces: list[bytes] = []
        self._place: memoryview | None = None
        self.size = 0

    def add(self, data: bytes) -> None:
        """The next piece. No more than `most` bytes in all."""
        start, self.size = self.size, self.size + len(data)
        if self._place is not None:
            self._place[start : self.size] = data
            return
        self._pieces.append(data)
        if self.size > IN_PIECES:
            self._move()

    def parts(self) -> Sequence[Buffer]:
        """All of it, in order. No more may be added."""
        if self._place is not None:
            return (self._place[: self.size].toreadonly(),)
        return self._pieces

    def _move(self) -> None:
        self._place = whole = place(max(self._most, self.size))
        start = 0
        for piece in self._pieces:
            whole[start : start + len(piece)] = piece
            start += len(piece)
        self._pieces = []
