"""One client's connection: requests in, replies out in order. Called by the event loop; one object per connection.

Races that matter: a client may vanish while its request runs (its Pending is abandoned), send the next request before
the reply (replies keep their order, reading stops at PIPELINED), or stop reading (writing is paused, then cut off).
What a client sends at once may hold thousands of requests: after PIPELINED of them it is the other clients' turn.
"""

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import httptools

from workloads.serve.errors import HeadersTooLarge, Invalid, QueueFull, RequestError, TooLarge
from workloads.serve.http.message import KEPT, Pending, Reply, Request, error_reply

if TYPE_CHECKING:
    from workloads.serve.http.server import HttpServer

LOG = logging.getLogger("slipway.serve.http")

PIPELINED = 16  # requests of one connection that are worked on at once, and that are read in one turn
HEAD_BYTES = 64 << 10
HEAD_END = b"\r\n\r\n"  # the parser takes no other


class _Slot:
    """The place of one reply in the order of replies."""

    __slots__ = ("bytes", "headless", "keep_alive", "pending", "reply")

    def __init__(self, keep_alive: bool, headless: bool, size: int) -> None:
        self.keep_alive = keep_alive
        self.headless = headless
        self.bytes = size
        self.pending: Pending | None = None
        self.reply: Reply | None = None


class Connection(asyncio.Protocol):
    """`since` and `received` are looked at by the server's sweep, which ends connections that are too slow."""

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._slots: deque[_Slot] = deque()
        self.reading = False  # a request has begun and is not whole
        self.in_body = False
        self.since = 0.0
        self.received = 0
        self.ending = False  # the last reply is written; what still comes is thrown away
        self._refused = False
        self._write_paused = False
        self._read_paused = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._size = 0
        self._length = 0  # of the body, as far as its headers say it
        self._whole = 0  # requests so far
        self._rest = b""  # received and not parsed yet

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self._transport = cast("asyncio.Transport", transport)
        self.since = self._server.now()
        if not self._server.add(self):
            self.refuse(QueueFull("too many connections", 1))

    def data_received(self, data: bytes) -> None:
        """Bytes. What is not parsed now is parsed when others have had their turn."""
        if self._rest:
            self._rest += data
            return
        place, before = 0, self._whole
        while place < len(data) and not (self.ending or self._refused):
            if self._full or self._whole - before >= PIPELINED:
                self._rest = data[place:]
                self._flow()
                return
            end = self._piece(data, place)
            self._parse(data[place:end])
            place = end

    def _piece(self, data: bytes, start: int) -> int:
        """Up to where no second request can become whole: the parser does not stop between two."""
        if self.in_body and self._length:
            return start + self._length - self._size
        first = data.find(HEAD_END, start)
        if first < 0 or data.find(HEAD_END, first + len(HEAD_END)) < 0:
            return len(data)
        return first + len(HEAD_END)

    def _go_on(self) -> None:
        """Parse what has waited."""
        if self._rest and not self._full:
            data, self._rest = self._rest, b""
            self.data_received(data)
            self._flow()

    def _parse(self, data: bytes) -> None:
        """The callbacks below run inside of feed_data."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_replies()
        except httptools.HttpParserError as error:
            if not isinstance(error.__context__, RequestError):
                self.refuse(Invalid(f"not HTTP/1.1: {error}"))
            else:
                self.refuse(error.__context__)
        else:
            if self.reading and not self.in_body and self._head_bytes() > HEAD_BYTES:
                self.refuse(HeadersTooLarge(f"the request's headers are larger than {HEAD_BYTES} bytes"))

    def eof_received(self) -> bool:
        """The client will send no more: whatever it still waits for, nobody will read."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Gone: its requests leave the queue, and nobody else waits for them."""
        self.ending, self._rest = True, b""
        for slot in self._slots:
            self._server.body_bytes -= slot.bytes
            if slot.pending is not None and slot.reply is None:
                slot.pending.abandon()
        self._slots.clear()
        self._forget_body()
        self._server.remove(self)

    def pause_writing(self) -> None:
        """The client does not read: stop taking its requests."""
        self._write_paused = True
        self.since = self._server.now()
        self._flow()

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused = False
        self._flow()

    # httptools

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._reset()
        self.reading = True
        self.since, self.received = self._server.now(), 0

    def on_url(self, url: bytes) -> None:
        """The target, perhaps in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEAD_BYTES:
            raise HeadersTooLarge(f"the request's headers are larger than {HEAD_BYTES} bytes")
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
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._slots:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

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
        self._whole += 1
        parser = self._parser
        method = parser.get_method()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        slot = _Slot(parser.should_keep_alive(), method == b"HEAD", self._size)
        self._body, self._size = [], 0
        self._slots.append(slot)
        path = self._url.partition(b"?")[0]
        outcome = self._server.respond(Request(b"GET" if slot.headless else method, path, self._headers, body))
        if isinstance(outcome, Reply):
            slot.reply = outcome
            self._flush()
        else:
            slot.pending = outcome
            outcome.future.add_done_callback(partial(self._done, slot))
        if len(self._slots) >= PIPELINED:
            self._flow()

    # replies

    def _done(self, slot: _Slot, _future: "asyncio.Future[object]") -> None:
        if self.ending or slot.pending is None:
            return
        slot.reply = self._server.finish_pending(slot.pending)
        slot.pending = None
        self._flush()
        if self._read_paused:
            self._flow()

    def _flush(self) -> None:
        """Write the replies whose turn it is."""
        while self._slots and not self.ending and (reply := self._slots[0].reply) is not None:
            slot = self._slots.popleft()
            self._server.body_bytes -= slot.bytes
            close = reply.close or not slot.keep_alive or self._server.closing
            head = reply.head(self._server.date, close)
            if slot.headless or not reply.body:
                self._transport.write(head)
            else:
                self._transport.writelines([head, *reply.body])
            self._server.replied(reply.status)
            if close:
                self.end()
        if not self._slots and not self.reading:
            self.since = self._server.now()

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._slots and not self.reading and not self.ending and not self._rest

    def abort(self) -> None:
        """Cut off."""
        self.ending = True
        self._transport.abort()

    def refuse(self, error: RequestError) -> None:
        """An error that ends the connection, after the replies that are due before it."""
        if self._refused or self.ending:
            return
        self._refused = True
        self._forget_body()
        slot = _Slot(False, False, 0)
        slot.reply = error_reply(error, close=True)
        self._slots.append(slot)
        self.reading = False
        self._flush()
        self._flow()

    def _end_after_replies(self) -> None:
        self._refused = True
        if self._slots:
            self._slots[-1].keep_alive = False
        else:
            self.end()

    def end(self) -> None:
        """Say that no more comes and throw away what the client still sends: closing at once would reset the
        connection, and the client would lose the reply. The sweep closes when the client does not.
        """
        self.ending, self._rest = True, b""
        self.since = self._server.now()
        for slot in self._slots:
            self._server.body_bytes -= slot.bytes
            if slot.pending is not None:
                slot.pending.abandon()
        self._slots.clear()
        self._forget_body()
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    @property
    def _full(self) -> bool:
        """No room for another request or its reply."""
        return self._write_paused or len(self._slots) >= PIPELINED

    def _flow(self) -> None:
        """Read while there is room for requests and replies, and nothing that was read waits to be parsed."""
        if self._rest and not self._full:
            self._loop.call_soon(self._go_on)
        pause = (self._full or self._refused or bool(self._rest)) and not self.ending
        if pause == self._read_paused or self._transport.is_closing():
            return
        self._read_paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _reset(self) -> None:
        self._url, self._headers, self._header_bytes = b"", {}, 0

    def _head_bytes(self) -> int:
        """Bytes of an unfinished head; those that came in one piece with its first byte may not be counted."""
        return max(self._header_bytes, len(self._url), self.received)

    def _forget_body(self) -> None:
        self._server.body_bytes -= self._size
        self._body, self._size = [], 0

    @property
    def write_paused(self) -> bool:
        """The client has not read for a while."""
        return self._write_paused

    @property
    def waiting(self) -> bool:
        """Replies are due."""
        return bool(self._slots)
