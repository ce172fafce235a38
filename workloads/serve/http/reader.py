"""Requests out of a connection's bytes: what the parser calls, one request at a time, and the limits that it may break.

Used by connection.py, which decides when to read. Bytes of bodies are counted for the whole server.
"""

from typing import TYPE_CHECKING, Protocol

import httptools

from workloads.serve.errors import HeadersTooLarge, Invalid, QueueFull, RequestError, TooLarge
from workloads.serve.http import framing
from workloads.serve.http.body import Body
from workloads.serve.http.message import Request

if TYPE_CHECKING:
    from workloads.serve.http.server import HttpServer

HEAD_BYTES = 64 << 10
HEADER_LINE = 4  # bytes of a header's line beside its name and value
# What a chunk may cost beside its content: its length, line ends, and a word or two that somebody has to say about it.
CHUNK_LINE = 32
HEAD_END = b"\r\n\r\n"  # the parser takes no other
LINE_END = HEAD_END[:1]
LONG_HEAD = f"the request's headers are larger than {HEAD_BYTES} bytes"


class RequestSink(Protocol):
    """Receiver of the requests that a Reader finds."""

    def begun(self) -> None:
        """The first byte of a request."""

    def expecting(self) -> None:
        """The client waits for leave to send the body."""

    def make_room(self) -> bool:
        """Too many bytes are in memory: whether others' have been given up for these."""

    def whole(self, request: Request, keep_alive: bool, size: int, old: bool) -> None:
        """A request, with a body of `size` bytes, which are the taker's to subtract from `server.body_bytes`.

        `old`: HTTP/1.0, whose clients must be told that the connection stays open.
        """


class Reader:
    """`reading`: a request has begun and is not whole; `received`: bytes since it began; `requests`: whole ones.

    `size`: bytes of the body that has begun.
    """

    def __init__(self, server: "HttpServer", taker: RequestSink) -> None:
        self._server = server
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self.reading = False
        self.in_body = False
        self.received = 0
        self.requests = 0
        self.size = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: Body | None = None
        self._length = 0  # of the body, as far as its headers say it
        self._chunks = -1  # that have come; -1 for a body whose length is known
        # A message that offers another protocol is read twice: its head by a parser that ends there, then the same
        # framing without the offer, by a new one.
        self._offered = False
        self._again = False

    def piece(self, data: bytes, start: int) -> int:
        """Up to where no second request can become whole: the parser does not stop between two."""
        if self.in_body and self._length:
            return start + self._length - self.size
        first = data.find(HEAD_END, start)
        second = first + len(HEAD_END)
        # Most bodies of JSON have no line's end at all, which is found out five times as fast.
        if first < 0 or data.find(LINE_END, second) < 0 or data.find(HEAD_END, second) < 0:
            return len(data)
        return second

    def feed(self, data: bytes) -> None:
        """Parse; the callbacks below run inside. Raises RequestError."""
        self.received += len(data)
        end = -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            end = offer.args[0]
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, RequestError):
                raise error.__context__ from None
            raise Invalid(f"not HTTP/1.1: {error}{framing.hint(error)}") from None
        if end >= 0:
            self._decline(data[end:])
        if not self.reading:
            return
        if not self.in_body:
            if self._head_bytes() > HEAD_BYTES:
                raise HeadersTooLarge(LONG_HEAD)
        elif self._chunks >= 0 and self.received - self.size > HEAD_BYTES + CHUNK_LINE * self._chunks:
            raise Invalid("the body's chunks have more extensions than content")

    def _decline(self, rest: bytes) -> None:
        """Read on as if the client had not offered another protocol: what follows is this message's body."""
        parser = self._parser
        head = framing.without_offer(parser.get_method(), parser.get_http_version(), self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self._offered, self._again = False, True
        before = self.received
        self.feed(head)
        self._again = False
        self.received = before
        if rest:
            self.received -= len(rest)
            self.feed(rest)

    def forget(self) -> None:
        """The body that has begun will not become whole."""
        self._server.body_bytes -= self.size
        self._body, self.size = None, 0

    def _head_bytes(self) -> int:
        """Bytes of an unfinished head; those that came in one piece with its first byte may not be counted."""
        return max(self._header_bytes, self.received)

    # httptools

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._again:
            return
        self._url, self._headers, self._header_bytes, self._chunks = b"", {}, 0, -1
        self.reading, self.received = True, 0
        self._taker.begun()

    def on_url(self, url: bytes) -> None:
        """The target, perhaps in pieces."""
        if self._again:
            return
        self._url += url
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one line behind the last chunk, which may change nothing any more."""
        if self._again:
            return
        self._header_bytes += len(name) + len(value) + HEADER_LINE
        if self._header_bytes > HEAD_BYTES:
            raise HeadersTooLarge(LONG_HEAD)
        name = name.lower()
        if name in framing.KEPT and not self.in_body:
            headers = self._headers
            headers[name] = framing.joined(name, headers[name], value) if name in headers else value

    def on_headers_complete(self) -> None:
        """Refuse what is too large, or what nobody here reads, before it is sent."""
        parser, headers = self._parser, self._headers
        if parser.should_upgrade():
            framing.check_offer(parser.get_method())
            self._offered = True
            return
        self.in_body = True
        if self._header_bytes > HEAD_BYTES:
            raise HeadersTooLarge(LONG_HEAD)
        chunked = b"transfer-encoding" in headers
        if chunked or b"host" not in headers:
            framing.check(headers, parser.get_http_version())
        size = int(headers.get(b"content-length", b"0"))  # digits: the parser refuses anything else
        self._length, limit = size, self._server.limits.max_body_size
        if size > limit:
            raise TooLarge(f"the body has {size} bytes, this server takes {limit}")
        if chunked:
            self._chunks = 0
        if size or chunked:
            self._body = Body(limit if chunked else size)
        if b"expect" in headers and framing.waits_for_leave(headers, parser.get_http_version()):
            self._taker.expecting()

    def on_chunk_header(self) -> None:
        """The length of one more chunk."""
        self._chunks += 1

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        server = self._server
        self.size += len(data)
        server.body_bytes += len(data)
        if self.size > server.limits.max_body_size:
            raise TooLarge(f"the body has more than the {server.limits.max_body_size} bytes that this server takes")
        if server.body_bytes > server.limits.max_buffered and not self._taker.make_room():
            raise QueueFull("too many bytes of requests are in memory", 1)
        if self._body is not None:
            self._body.add(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._offered:
            return
        self.reading = self.in_body = False
        self.requests += 1
        parser, headers = self._parser, self._headers
        body, size, self._body, self.size = self._body, self.size, None, 0
        parts = body.parts() if body is not None else ()
        path, query = framing.path_of(self._url), self._url.partition(b"?")[2]
        request = Request(parser.get_method(), path, headers, b"", query, parts)
        keep_alive = parser.should_keep_alive()
        request.raw = parser.get_http_version() == "1.0"
        old = keep_alive and b"connection" in headers and request.raw
        self._taker.whole(request, keep_alive, size, old)
