"""One stream of a connection: how much may come and go, and what waits to be sent. Called by connection.py."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from workloads.serve.http.message import Buffer
from workloads.serve.http2 import frames

if TYPE_CHECKING:
    from workloads.serve.http2.connection import Connection

# What a client may send beyond what it has sent, of something that is wanted: enough for a long way, and no more than
# the streams beside it wait for.
WIDE = 1 << 20


# Seconds for the end of what an answered stream's client sends, until it hears that nobody reads on. It is on its way
# mostly, and a gateway that shares the connection takes a frame for a stream that it has forgotten for a fault.
END_SECONDS = 0.2


class Owner(Protocol):
    """Owner of a stream, told what becomes of it."""

    def begin(self) -> None:
        """All that has come with its first headers is here."""

    def received(self, data: bytes) -> None:
        """A piece of what the client sends."""

    def ended(self) -> None:
        """The client sends no more."""

    def gone(self) -> None:
        """Nothing can be sent any more: the client does not want it, or is not there."""

    def sent(self) -> None:
        """All that was to be sent has left."""

    def over(self) -> None:
        """The answer is written."""


class Stream:
    """`half_closed`: the client has sent all; `unsent`: bytes that wait for the client's leave."""

    __slots__ = ("_tail", "closed", "connection", "half_closed", "number", "out", "owner", "unsent", "wanted", "window")

    def __init__(self, connection: "Connection", number: int, wanted: int) -> None:
        """`wanted`: bytes that the client lets come."""
        self.connection = connection
        self.number = number
        self.owner: Owner | None = None
        self.window = frames.WINDOW  # what the client may send yet
        self.wanted = wanted
        self.half_closed = self.closed = False
        self.out: deque[memoryview] = deque()
        self.unsent = 0
        self._tail = b""

    def grant(self, more: int) -> None:
        """Let the client send so many bytes more, of something of which no more is missing."""
        wanted = min(more, WIDE)
        if self.half_closed or self.closed or self.window * 2 > wanted:
            return
        self.connection.write(frames.window_update(self.number, wanted - self.window))
        self.window = wanted

    def headers(self, block: bytes) -> None:
        """First headers."""
        if not self.closed:
            self.connection.write_headers(self.number, block, False)

    def data(self, *parts: Buffer) -> None:
        """Content, when the client takes it."""
        if self.closed:
            return
        for part in parts:
            if part:
                self.out.append(memoryview(part))
                self.unsent += len(part)
                self.connection.unsent += len(part)
        self.connection.pump(self)

    def end(self, block: bytes) -> None:
        """Last headers, behind all content."""
        if self.closed:
            return
        self._tail = block
        if not self.out:
            self.finish()

    def whole(self, block: bytes, content: tuple[Buffer, ...], tail: bytes) -> None:
        """A whole answer: one write where the client takes it at once."""
        size = sum(map(len, content))
        connection = self.connection
        if self.closed:
            return
        if connection.takes(self, size):
            self.wanted -= size
            connection.wanted -= size
            head = frames.head(frames.DATA, 0, self.number, size)
            connection.write_headers(self.number, block, False, b"".join((head, *content)))
            self._tail = tail
            self.finish()
        else:
            self.headers(block)
            self.data(*content)
            self.end(tail)

    def finish(self) -> None:
        """Write the last headers, if all content is written and they are there."""
        if not self._tail or self.closed:
            return
        self.connection.write_headers(self.number, self._tail, True)
        if not self.half_closed:
            self.connection.early.expect_end(self.number)
        self.connection.forget(self)

    def reset(self, code: frames.Code) -> None:
        """End it without an answer."""
        if not self.closed:
            self.connection.write(frames.reset(self.number, code))
            self.connection.forget(self)


class EarlyAnswers:
    """Streams of a connection that were answered before their clients had sent all."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.timers: dict[int, asyncio.TimerHandle] = {}

    def expect_end(self, number: int) -> None:
        """The stream is answered, and forgotten."""
        loop = asyncio.get_running_loop()
        self.timers[number] = loop.call_later(END_SECONDS, self._read_no_more, number)

    def end_came(self, number: int) -> None:
        """The client has sent all on a stream, or gives it up."""
        timer = self.timers.pop(number, None)
        if timer is not None:
            timer.cancel()

    def forget(self) -> None:
        """The connection is gone."""
        for number in list(self.timers):
            self.end_came(number)

    def _read_no_more(self, number: int) -> None:
        del self.timers[number]
        self._connection.write(frames.reset(number, frames.Code.NO_ERROR))
