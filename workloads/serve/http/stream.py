"""A reply whose body is written piece by piece, while it is worked out: chunked, or until the end over HTTP/1.0.

What is written before it is the reply's turn, or while the client does not read, waits here and in the connection,
bounded by MOST; a client that falls further behind is cut off. Its writer is told when the client is gone.
"""

from collections.abc import Callable
from typing import Protocol

from workloads.serve.http.message import STATUS_LINES, Reply

EVENTS = b"text/event-stream; charset=utf-8"
# Proxies shall pass each piece on at once.
LIVE = b"Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
MOST = 4 << 20  # bytes that one client may leave unread


class Sink(Protocol):
    """Sink of a stream's bytes: a connection."""

    def stream(self, data: bytes, last: bool) -> None:
        """Send bytes, framed already."""


class Stream(Reply):
    """`gone` is called once when the client has left, or is cut off, before the end."""

    __slots__ = ("_raw", "_sink", "_waiting", "ended", "gone", "over", "size")

    def __init__(self, gone: Callable[[], None], content_type: bytes = EVENTS, headers: bytes = LIVE) -> None:
        super().__init__(200, (), content_type, headers)
        self.gone = gone
        self.over = False
        self.size = 0  # bytes that were written, without their frames
        self.ended: Callable[[], None] = lambda: None  # called once when all is written, or the client is gone
        self._sink: Sink | None = None
        self._raw = False
        self._waiting: list[bytes] = []

    def head(self, date: bytes, connection: bytes) -> bytes:
        """Status line and headers, up to the empty line."""
        framing = b"" if self._raw else b"Transfer-Encoding: chunked\r\n"
        return b"%bContent-Type: %b\r\n%b%bDate: %b\r\n%b\r\n" % (
            STATUS_LINES[self.status],
            self.content_type,
            framing,
            self.headers,
            date,
            connection,
        )

    def take(self, raw: bool, date: bytes, connection: bytes, sink: Sink) -> None:
        """Send head, what has waited, and what is written from now on. `raw`: HTTP/1.0, which knows no chunks."""
        self._raw, self._sink = raw, sink
        sink.stream(self.head(date, connection), False)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._send(data)
        if self.over:
            self._finish()

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Nothing happens when the client is gone."""
        if self.over or not data:
            return
        self.size += len(data)
        if self._sink is None:
            self._waiting.append(data)
            return
        self._send(data)

    def end(self) -> None:
        """The body is whole."""
        if self.over:
            return
        self.over = True
        if self._sink is not None:
            self._finish()

    def abandon(self) -> None:
        """The client is gone."""
        self._waiting.clear()
        self._sink = None
        if not self.over:
            self.over = True
            self.gone()
        self.ended()
        self.ended = lambda: None

    def _send(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.stream(data if self._raw else b"%x\r\n%b\r\n" % (len(data), data), False)

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.stream(b"" if self._raw else b"0\r\n\r\n", True)
        self.ended()
        self.ended = lambda: None
