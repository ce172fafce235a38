"""One client's connection: requests in, replies out in order. Called by the event loop; one object per connection.

Races that matter: a client may vanish while its request runs (its Pending is abandoned), send the next request before
the reply (replies keep their order, reading stops at PIPELINED), or stop reading (writing is paused, then cut off).
What a client sends at once may hold thousands of requests: after PIPELINED of them it is the other clients' turn.
"""

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

from workloads.serve.errors import Invalid, QueueFull, RequestError, TooSlow
from workloads.serve.http.message import Reply, Request, error_reply
from workloads.serve.http.output import long
from workloads.serve.http.pace import Progress
from workloads.serve.http.reader import Reader
from workloads.serve.http.slot import Slot
from workloads.serve.http.stream import Stream
from workloads.serve.http.writing import Writing

if TYPE_CHECKING:
    from workloads.serve.http.server import HttpServer

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
PIPELINED = 16  # requests of one connection that are worked on at once, and that are read in one turn


class Connection(Writing):
    """`since`, the reader and what is unsent are looked at by the server's sweep, which ends what is too slow."""

    def __init__(self, server: "HttpServer") -> None:
        super().__init__(server)
        self._loop = asyncio.get_running_loop()
        self.reader = Reader(server, self)
        self._slots: deque[Slot] = deque()
        self.halved = False  # the client will send no more
        self._refused = False
        self._read_paused = False
        self._rest = b""  # received and not parsed yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register a client, or refuse it when there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)
        self.since = self._server.now()
        if not self._server.add(self):
            self.refuse(QueueFull("too many connections", 1))

    def data_received(self, data: bytes) -> None:
        """Parse bytes of the client. What is not parsed now is parsed when others have had their turn."""
        self._server.turns.took(len(data), self._transport, self)
        if self._rest:
            self._rest += data
            return
        reader, place, before = self.reader, 0, self.reader.requests
        while place < len(data) and not (self.ending or self._refused):
            if self._full or reader.requests - before >= PIPELINED:
                self._rest = data[place:]
                self._flow()
                return
            end = reader.piece(data, place)
            self._read(data[place:end])
            place = end

    def _go_on(self) -> None:
        """Parse what has waited."""
        if self._rest and not self._full:
            data, self._rest = self._rest, b""
            self.data_received(data)
            self._flow()

    def _read(self, data: bytes) -> None:
        try:
            self.reader.feed(data)
        except RequestError as error:
            self.refuse(error)

    def eof_received(self) -> bool:
        """The client will send no more. It may still read, or be gone: nobody can tell before something is written.

        What is computed is answered, if that takes no longer than `half_closed`. What still waits in the queue is not.
        """
        if self.ending:
            return False
        if not self.halved:
            self.halved, self.since = True, self._server.now()
            self._loop.call_soon(self._leave_queue)
        if self.reader.reading and not self._rest:
            self.refuse(Invalid("the connection ended before the request was whole"))
        # By TLS the transport closes whatever is said here.
        sealed = self._transport.get_extra_info("ssl_object") is not None
        return bool(self.waiting or self._rest or self._output.size or self.ending) and not sealed

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection, which is gone: its requests leave the queue, and nobody else waits for them."""
        self.forget()
        self._server.remove(self)

    def forget(self) -> None:
        """Give back the memory of all that is under way."""
        self.ending, self._rest = True, b""
        self._give_up_replies()
        self._output.clear()
        self._count_unsent(0)
        self.reader.forget()

    def _give_up_replies(self) -> None:
        self._forget_stream()
        for slot in self._slots:
            self._server.body_bytes -= slot.bytes
            slot.abandon()
        self._slots.clear()

    def pause_writing(self) -> None:
        """Stop taking requests: the client does not read."""
        self.write_paused = True
        self.progress = Progress()
        self.look_at_unsent()
        self._flow()

    def resume_writing(self) -> None:
        """Take requests again: the client reads again."""
        self.write_paused = False
        self.progress = Progress()
        self._pump()
        self._flush()
        self.look_at_unsent()
        self._flow()

    def begun(self) -> None:
        """The first byte of a request."""
        self.since, self.progress = self._server.now(), Progress()

    def make_room(self) -> bool:
        """Too many bytes are in memory."""
        return self._server.make_room(self)

    def expecting(self) -> None:
        """The client waits for leave to send the body: replies that are due go first, and it will not wait for ever."""
        if not self._slots:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def whole(self, request: Request, keep_alive: bool, size: int, old: bool) -> None:
        """A request."""
        headless = request.method == b"HEAD"
        request.sender = self
        if headless:
            request.method = b"GET"
        slot = Slot(keep_alive, headless, size, old, request.raw)
        self._slots.append(slot)
        if isinstance(outcome := self._server.respond(request), Reply):
            slot.reply = outcome
            self._flush()
        else:
            slot.pending = outcome
            outcome.future.add_done_callback(partial(self._done, slot))
        if len(self._slots) >= PIPELINED:
            self._flow()

    def _done(self, slot: Slot, _future: "asyncio.Future[object]") -> None:
        if self.ending or slot.pending is None:
            return
        outcome = self._server.finish_pending(slot.pending)
        if not isinstance(outcome, Reply):  # the result is there, and writing it takes a while
            slot.pending = outcome
            outcome.future.add_done_callback(partial(self._done, slot))
            return
        slot.reply, slot.pending = outcome, None
        self._flush()
        if self._read_paused:
            self._flow()

    def _flush(self) -> None:
        """Write the replies whose turn it is."""
        while self._slots and not (self.ending or self._output.size or self._stream):
            if (reply := self._slots[0].reply) is None:
                break
            slot = self._slots.popleft()
            self._server.body_bytes -= slot.bytes
            close = reply.close or not slot.keep_alive or self._server.closing
            if isinstance(reply, Stream):
                self._begin(reply, slot.raw, CLOSE if close else b"")
                continue
            head = reply.head(self._server.date, CLOSE if close else KEEP_ALIVE if slot.old else b"")
            self._server.replied(reply.status)
            parts = [head] if slot.headless else [head, *reply.body]
            if long(parts):
                self._output.add(parts, close)
                self._pump()
                continue
            self._transport.writelines(parts)
            if close:
                self.end()
        if not self.waiting and not self.reader.reading:
            self.since = self._server.now()
            if self.halved and not (self._rest or self._output.size or self.ending):
                self.end()

    @property
    def idle(self) -> bool:
        """True if nothing is under way."""
        return not (self.waiting or self._output.size or self.reader.reading or self.ending or self._rest)

    def refuse(self, error: RequestError) -> None:
        """An error that ends the connection, after the replies that are due before it."""
        if self._refused or self.ending:
            return
        self._refused = True
        self.reader.forget()
        slot = Slot(False, False, 0)
        slot.reply = error_reply(error, close=True)
        self._slots.append(slot)
        self.reader.reading = False
        self._flush()
        self._flow()

    def end(self) -> None:
        """Say that no more comes and throw away what the client still sends: closing at once would reset the
        connection, and the client would lose the reply. The sweep closes when the client does not.
        """
        self.ending, self._rest = True, b""
        self.since = self._server.now()
        self._give_up_replies()
        self.reader.forget()
        if self.halved or not self._transport.can_write_eof():
            self._transport.close()
            return
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        self._transport.write_eof()

    @property
    def _full(self) -> bool:
        """True if there is no room for another request or its reply."""
        return self.write_paused or len(self._slots) >= PIPELINED

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

    def _leave_queue(self) -> None:
        if self._slots and self._stream is None and getattr(self._slots[0].pending, "waiting", False):
            self.give_up_half_closed()

    def give_up_half_closed(self) -> None:
        """Its answer takes too long: most likely there is nobody."""
        if self._stream is not None:
            self.abort()
            return
        slot = Slot(False, False, 0)
        slot.reply = error_reply(TooSlow("the client closed its end, and the answer was not there soon after"), True)
        self._give_up_replies()
        self._slots.append(slot)
        self._rest = b""
        self._flush()

    @property
    def peer(self) -> str:
        """The client's address without its port; what several connections of one client share."""
        return str((self._transport.get_extra_info("peername") or [""])[0])

    @property
    def held(self) -> int:
        """Bytes in memory for this client: of requests that are under way, and of replies that it does not read."""
        return self.reader.size + self.unsent + sum(slot.bytes for slot in self._slots)

    @property
    def held_up(self) -> bool:
        """True while this server itself reads nothing from the client."""
        return self._read_paused

    @property
    def waiting(self) -> bool:
        """True if replies are due."""
        return bool(self._slots or self._stream)
