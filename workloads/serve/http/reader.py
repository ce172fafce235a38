"""Requests out of a connection's bytes: what the parser calls, one request at a time, and the limits that it may break.

Used by connection.py, which decides when to read. Bytes of bodies are counted for the whole server.
"""

from typing import TYPE_CHECKING, Protocol

import httptools

from workloads.serve.errors import HeadersTooLarge, Invalid, QueueFull, RequestError, TooLarge
from workloads.serve.http.message import KEPT, Request

if TYPE_CHECKING:
    from workloads.serve.http.server import HttpServer

HEAD_BYTES = 64 << 10
HEAD_END = b"\r\n\r\n"  # the parser takes no other
LONG_HEAD = f"the request's headers are larger than {HEAD_BYTES} bytes"


class Taker(Protocol):
    """Whose requests they are."""

    def begun(self) -> None:
        """The first byte of a request."""

    def expecting(self) -> None:
        """The client waits for leave to send the body."""

    def whole(self, request: Request, keep_alive: bool, size: int) -> None:
        """A request, with a body of `size` bytes, which are the taker's to subtract from `server.body_bytes`."""


class Reader:
    """`reading`: a request has begun and is not whole; `received`: bytes since it began; `requests`: whole ones."""

    def __init__(self, server: "HttpServer", taker: Taker) -> None:
        self._server = server
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self.reading = False
        self.in_body = False
        self.received = 0
        self.requests = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._size = 0
        self._length = 0  # of the body, as far as its headers say it

    def piece(self, data: bytes, start: int) -> int:
        """Up to where no second request can become whole: the parser does not stop between two."""
        if self.in_body and self._length:
            return start + self._length - self._size
        first = data.find(HEAD_END, start)
        if first < 0 or data.find(HEAD_END, first + len(HEAD_END)) < 0:
            return len(data)
        return first + len(HEAD_END)

    def feed(self, data: bytes) -> bool:
        """Parse; the callbacks below run inside. False: what follows is of another protocol. Raises RequestError."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return False
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, RequestError):
                raise error.__context__ from None
            raise Invalid(f"not HTTP/1.1: {error}") from None
        if self.reading and not self.in_body and self._head_bytes() > HEAD_BYTES:
            raise HeadersTooLarge(LONG_HEAD)
        return True

    def forget(self) -> None:
        """The body that has begun will not become whole."""
        self._server.body_bytes -= self._size
        self._body, self._size = [], 0

    def _head_bytes(self) -> int:
        """Bytes of an unfinished head; those that came in one piece with its first byte may not be counted."""
        return max(self._header_bytes, len(self._url), self.received)

    # httptools

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url, self._headers, self._header_bytes = b"", {}, 0
        self.reading, self.received = True, 0
        self._taker.begun()

    def on_url(self, url: bytes) -> None:
        """The target, perhaps in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEAD_BYTES:
            raise HeadersTooLarge(LONG_HEAD)
        name = name.lower()
        if name in KEPT:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Refuse what is too large before it is sent."""
        self.in_body = True
        size = int(self._headers.get(b"content-length", b"0"))  # digits: the parser refuses anything else
        self._length, limit = size, self._server.limits.max_body_size
        if size > limit:
            raise TooLarge(f"the body has {size} bytes, this server takes {limit}")
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._taker.expecting()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        server = self._server
        self._size += len(data)
        server.body_bytes += len(data)
        if self._size > server.limits.max_body_size:
            raise TooLarge(f"the body has more than the {server.limits.max_body_size} bytes that this server takes")
        if server.body_bytes > server.limits.max_buffered:
            raise QueueFull("too many bytes of requests are in memory", 1)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.reading = self.in_body = False
        self.requests += 1
        parser = self._parser
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        size, self._body, self._size = self._size, [], 0
        path = self._url.partition(b"?")[0]
        request = Request(parser.get_method(), path, self._headers, body)
        self._taker.whole(request, parser.should_keep_alive(), size)
