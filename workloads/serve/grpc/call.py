"""One call over gRPC: its messages in, its answer and status out. Made by calls.py for each stream."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from workloads.serve.aside import aside
from workloads.serve.errors import Invalid, QueueFull, RequestError, TooLarge, UnknownTransfer
from workloads.serve.grpc import wire
from workloads.serve.grpc.messages import PREFIX, Message, Messages
from workloads.serve.grpc.receiving import SMALL, AwaitedMessage, Receiving
from workloads.serve.grpc.wire import Head
from workloads.serve.http.message import Buffer
from workloads.serve.http2.frames import Code
from workloads.serve.http2.stream import Stream
from workloads.serve.protocol.content_encoding import AT_ONCE, inflated

if TYPE_CHECKING:
    from workloads.serve.grpc.calls import Calls

LOG = logging.getLogger("slipway.serve.grpc")

# An answer in parts, or nothing where the handler has written all answers itself, or the call fails.
Handler = Callable[["Call"], Awaitable[Sequence[Buffer] | None]]
Header = tuple[bytes, bytes]


class Call:
    """`path`, `said` (metadata), `peer` and `client` of the call; `status` is what it ends with.

    `lead` and `trail`: metadata before the answer and behind it, which a handler may add to.
    """

    def __init__(self, calls: "Calls", stream: Stream, head: Head, receiving: Receiving, most: int) -> None:
        self._calls = calls
        self._stream = stream
        self._receiving = receiving
        self._loop = asyncio.get_running_loop()
        self.path, self.said, self._encoding = head.path, head.said, head.encoding
        self.peer, self.client = stream.connection.peer, stream.connection.client
        self._deadline = self._loop.time() + head.timeout if head.timeout is not None else None
        self.status, self._words = "OK", ""
        self.handler: Handler | None = None
        self.lead: list[Header] = []
        self.trail: list[Header] = []
        self.came = 0
        self._most = most
        self._messages = Messages(most)
        self._held = 0  # bytes that are counted, beside those of a large message
        self._large: AwaitedMessage | None = None
        self._ended = False
        self._led = False
        self._error: RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.since = receiving.now()

    def begin(self) -> None:
        """Let the handler answer it."""
        if self.handler is None:
            return
        self._task = self._loop.create_task(self._run(self.handler))
        if self._deadline is not None:
            self._timer = self._loop.call_at(self._deadline, self._late)

    def time_remaining(self) -> float | None:
        """Seconds until the client's own deadline, where it has given one."""
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def metadata(self, name: str, value: str) -> None:
        """Add to what follows the answer."""
        self.trail.append((name.encode(), value.encode()))

    def fail(self, status: str, words: str) -> None:
        """Status that the call ends with."""
        self.status, self._words = status, words

    # messages in

    async def next(self) -> Message | None:
        """The next message, None after the last one. RequestError when it does not come, or there is no room for it."""
        while not self._messages.ready:
            if self._error is not None:
                raise self._error
            if self._ended:
                if self._messages.begun:
                    raise Invalid("the call ended within a message")
                return None
            self.since = self._receiving.now()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.ready.popleft()
        if message.packed:
            await self._unpack(message)
        if self._large is None and not self._ended:
            # Its room is that of the next one.
            self._receiving.memory.give_back(self._held)
            self._held = 0
            self._stream.grant(SMALL)
        return message

    async def small(self, most: int) -> bytes | None:
        """The next message of a call that brings no tensors, in one piece. RequestError as above."""
        message = await self.next()
        if message is None:
            return None
        if message.size > most:
            raise TooLarge(f"the message has {message.size} bytes, and this call takes {most}")
        return bytes(message.joined())

    async def _unpack(self, message: Message) -> None:
        coding = self._encoding
        if coding not in (b"gzip", b"deflate"):
            raise UnknownTransfer(f"this server reads gzip and deflate, not grpc-encoding {coding.decode()!r}")
        body, most = message.joined(), self._most
        try:
            data = inflated(body, coding, AT_ONCE)
        except TooLarge:
            if not self._count(most):
                raise QueueFull("too many bytes of requests are in memory", 1) from None
            try:
                data = await aside(inflated, body, coding, most)
            except TooLarge as error:
                raise QueueFull(str(error)) from None  # the status of every gRPC server for this
            self._receiving.memory.give_back(most - len(data))
            self._held -= most - len(data)
        message.parts, message.size, message.packed = [data], len(data), False

    def _count(self, size: int) -> bool:
        if not self._receiving.memory.take(size):
            return False
        self._held += size
        return True

    def received(self, data: bytes) -> None:
        """A piece of what the client sends."""
        self.came += len(data)
        if self._error is not None:
            return
        if self._large is None and not self._count(len(data)):
            self.give_up(QueueFull("too many bytes of requests are in memory", 1))
            return
        messages = self._messages
        try:
            messages.feed(data)
            if messages.missing and messages.length > SMALL and self._large is None:
                self._large = self._receiving.begin(self, messages.length)
        except RequestError as error:
            self.give_up(error)
            return
        if messages.ready:
            if self._large is not None:
                self._large.whole = True
            self._wake()
        elif self._large is not None and self._large.taken:
            self._stream.grant(messages.missing)

    def ended(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._wake()

    def admitted(self) -> None:
        """There is room for all of its message."""
        self._stream.grant(self._messages.missing)

    def give_up(self, error: RequestError) -> None:
        """End the call with an error; nothing more of its message is read."""
        if self._error is None:
            self._error = error
        self._wake()

    @property
    def waits(self) -> bool:
        """True while a message is awaited that is not a large one, which is looked at elsewhere."""
        return self._waiter is not None and self._large is None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # answer out

    async def write(self, reply: bytes) -> None:
        """One of several answers. Waits until the client takes the last one."""
        if not self._led:
            self._led = True
            self._stream.headers(wire.leading(self.lead))
        while self._stream.out and not self._stream.closed:
            self._drained = self._loop.create_future()
            await self._drained
        self._stream.data(PREFIX.pack(0, len(reply)) + reply)

    def sent(self) -> None:
        """All that was to be sent has left."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def gone(self) -> None:
        """The client does not want it any more, or is not there."""
        if self._task is not None and not self._task.done():
            self.fail("CANCELLED", "")
            self._task.cancel()
        self.sent()
        self.over()

    def _late(self) -> None:
        """The client's own deadline is over."""
        if self._task is not None and not self._task.done():
            self.fail("DEADLINE_EXCEEDED", "the call's deadline is over")
            self._task.cancel()

    async def _run(self, handler: Handler) -> None:
        reply: Sequence[Buffer] | None = None
        try:
            reply = await handler(self)
        except asyncio.CancelledError:
            if self.status == "OK":
                self.fail("CANCELLED", "")
        except RequestError as error:
            error.__traceback__ = None
            self.fail(error.grpc, str(error))
        except Exception:
            # The exception's text belongs in the log, not to the client.
            LOG.exception("a request failed")
            self.fail("INTERNAL", "an error of the server's own, which is in its log")
        self._finish(reply if self.status == "OK" else None)

    def _finish(self, reply: Sequence[Buffer] | None) -> None:
        stream = self._stream
        self._release()
        tail = wire.trailing(self.status, self._words, self.trail)
        if reply is not None and not self._led:
            stream.whole(wire.leading(self.lead), (PREFIX.pack(0, sum(map(len, reply))), *reply), tail)
        elif not self._led and not self.lead:
            stream.end(wire.ALONE + tail)
        else:
            if not self._led:
                stream.headers(wire.leading(self.lead))
            stream.end(tail)
        if stream.unsent and not self._count(stream.unsent):
            stream.reset(Code.ENHANCE_YOUR_CALM)

    def over(self) -> None:
        """The answer is written."""
        self._release()
        self._calls.over(self)

    def _release(self) -> None:
        """Give back what it holds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._messages = Messages(self._most)
        if self._large is not None:
            self._receiving.end(self._large)
            self._large = None
        if self._held:
            self._receiving.memory.give_back(self._held)
            self._held = 0

    def refuse(self) -> None:
        """End it without a handler, with the status that it has."""
        self._finish(None)
