"""Messages of gRPC out of a stream's bytes, in the pieces in which they come: a large one is never put together here.

Pure; used by call.py.
"""

import struct
from collections import deque
from collections.abc import Sequence

from workloads.serve.errors import Invalid, QueueFull
from workloads.serve.http.body import Body
from workloads.serve.http.message import Buffer

PREFIX = struct.Struct(">BL")
# Clients may send a message in frames of a byte: what is smaller than this is gathered.
LEAST_PIECE = 16 << 10
PIECE = 64 << 10


class Message:
    """One message of `size` bytes so far, which the client has `packed` or not."""

    __slots__ = ("_body", "_tail", "packed", "parts", "size")

    def __init__(self, packed: bool, length: int) -> None:
        self.packed = packed
        self._body = Body(length)
        # Once it is whole.
        self.parts: Sequence[Buffer] = ()
        self.size = 0
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """One more piece of it."""
        self.size += len(data)
        if len(data) >= LEAST_PIECE and not self._tail:
            self._body.add(data)
            return
        self._tail += data
        if len(self._tail) >= PIECE:
            self._gathered()

    def joined(self) -> Buffer:
        """The whole message, which is kept in one piece from now on."""
        if len(self.parts) > 1:
            self.parts = (b"".join(self.parts),)
        return self.parts[0] if self.parts else b""

    def close(self) -> None:
        """Nothing more comes."""
        self._gathered()
        self.parts = self._body.parts()

    def _gathered(self) -> None:
        if self._tail:
            self._body.add(bytes(self._tail))
            self._tail = bytearray()


class Messages:
    """`ready`: messages that are whole; `missing`: bytes of the one that is not, 0 where there is none."""

    def __init__(self, most: int) -> None:
        """`most` bytes of a message."""
        self._most = most
        self._prefix = b""
        self._coming: Message | None = None
        self.ready: deque[Message] = deque()
        self.missing = 0
        self.length = 0  # of the one that comes

    @property
    def begun(self) -> bool:
        """True within a message."""
        return bool(self._prefix) or self._coming is not None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream. QueueFull for a message that is too large, Invalid for what is none."""
        place, size = 0, len(data)
        while place < size or (self._coming is not None and not self.missing):
            if self._coming is None:
                end = place + PREFIX.size - len(self._prefix)
                self._prefix += data[place:end]
                place = end
                if len(self._prefix) == PREFIX.size:
                    self._begin()
                continue
            end = min(size, place + self.missing)
            if end > place:
                self._coming.add(data[place:end] if place or end < size else data)
                self.missing -= end - place
                place = end
            if not self.missing:
                self._coming.close()
                self.ready.append(self._coming)
                self._coming = None

    def _begin(self) -> None:
        packed, length = PREFIX.unpack(self._prefix)
        self._prefix = b""
        if packed > 1:
            raise Invalid("a message begins with 0, or with 1 when it is compressed")
        if length > self._most:
            # The status of every gRPC server for this.
            raise QueueFull(f"the message has {length} bytes, and this server takes {self._most}")
        self._coming, self.missing, self.length = Message(packed == 1, length), length, length
