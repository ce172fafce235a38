"""Messages between a connection and the application: a whole request, a reply, or the promise of one."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import orjson

from workloads.serve.errors import EngineFailed, RequestError, UnsupportedEncoding

LOG = logging.getLogger("slipway.serve.http")

JSON = b"application/json"
Buffer = bytes | memoryview
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Sender(Protocol):
    """Sender of a request: a connection."""

    @property
    def peer(self) -> str:
        """The client's address; what several connections of one client share."""


class Request:
    """`path` without the `query`; `headers` are those in framing.KEPT, lower case; `sender` where there is one."""

    __slots__ = ("headers", "method", "parts", "path", "query", "raw", "sender")

    def __init__(
        self,
        method: bytes,
        path: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        query: bytes = b"",
        parts: Sequence[Buffer] = (),
    ) -> None:
        """The body in one piece, or in `parts` as it came: putting a large one together takes a while."""
        self.method = method
        self.path = path
        self.headers = headers
        self.query = query
        self.parts: Sequence[Buffer] = parts or (body,)
        self.sender: Sender | None = None
        self.raw = False  # HTTP/1.0

    @property
    def body(self) -> bytes:
        """Body in one piece, for those who can read nothing else: a large one is copied, which takes a while."""
        if len(self.parts) > 1 or not isinstance(self.parts[0], bytes):
            self.parts = (b"".join(self.parts),)
        whole = self.parts[0]
        assert isinstance(whole, bytes)  # noqa: S101  (so it was put together)
        return whole

    @body.setter
    def body(self, body: bytes) -> None:
        self.parts = (body,)

    @property
    def whole(self) -> Buffer:
        """Body in one piece, where it lies."""
        return self.parts[0] if len(self.parts) == 1 else self.body

    @property
    def size(self) -> int:
        """Size of the body, in bytes."""
        return sum(map(len, self.parts))


# On a copy of a request that another server has answered.
COPY = b"slipway-copy"


class Reply:
    """`body` is written as it is, without joining; `headers` are whole lines with their line ends."""

    __slots__ = ("body", "close", "content_type", "headers", "status", "timing")

    def __init__(
        self,
        status: int,
        body: Sequence[Buffer] = (),
        content_type: bytes = JSON,
        headers: bytes = b"",
        close: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.close = close
        # Seconds in the queue and in the engine, where it is an inference's.
        self.timing: tuple[float, ...] | None = None

    def head(self, date: bytes, connection: bytes) -> bytes:
        """Status line and headers, up to the empty line; `connection` is a whole line of them, or nothing."""
        return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%bDate: %b\r\n%b\r\n" % (
            STATUS_LINES[self.status],
            self.content_type,
            sum(len(part) for part in self.body),
            self.headers,
            date,
            connection,
        )


class Pending(Protocol):
    """A reply that is not there yet."""

    future: "asyncio.Future[Any]"

    def finish(self) -> "Reply | Pending":
        """The reply, once `future` is done, or one that takes longer still. May raise RequestError."""

    def abandon(self) -> None:
        """The client is gone."""


Handle = Callable[[Request], "Reply | Pending"]


def json_reply(document: Any, status: int = 200) -> Reply:
    """Anything orjson can write."""
    return Reply(status, (orjson.dumps(document),))


def error_reply(error: RequestError, close: bool = False) -> Reply:
    """The protocol's error object, for every path."""
    headers = b"Retry-After: %d\r\n" % error.retry_after if error.retry_after else b""
    if isinstance(error, UnsupportedEncoding):
        headers += b"Accept-Encoding: gzip, deflate\r\n"
    return Reply(error.status, (orjson.dumps({"error": str(error)}),), headers=headers, close=close)


def failure_reply(error: BaseException) -> Reply:
    """Reply for an error of any kind, whosoever it is. The log gets what nobody has foreseen."""
    if isinstance(error, RequestError):
        # Its frames hold the pending reply, whose future holds the error: the request would stay in memory until the
        # garbage collector comes, which for old objects is seldom.
        error.__traceback__ = None
        return error_reply(error)
    if isinstance(error, asyncio.CancelledError):
        return error_reply(EngineFailed("the request was cancelled"))
    LOG.error("a request failed", exc_info=error)
    return error_reply(EngineFailed("an error of the server's own, which is in its log"))
