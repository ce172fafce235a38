"""Calls of all connections: which handler answers which, and how many there may be. Used by server.py."""

import ssl
from collections.abc import Callable, Mapping

from workloads.serve.errors import TooSlow
from workloads.serve.grpc import wire
from workloads.serve.grpc.call import Call, Handler
from workloads.serve.grpc.receiving import PATIENCE, Receiving
from workloads.serve.http.turn import Turns
from workloads.serve.http2.hpack import Header
from workloads.serve.http2.server import Http2Server
from workloads.serve.http2.stream import Owner, Stream


class NoCall:
    """Stream that is no call."""

    def begin(self) -> None:
        """Begin nothing: the stream was answered when it was refused."""

    def received(self, data: bytes) -> None:
        """Throw it away."""

    def ended(self) -> None:
        """Nothing follows."""

    def gone(self) -> None:
        """Nothing is lost."""

    def sent(self) -> None:
        """Nothing waits."""

    def over(self) -> None:
        """Nothing is held."""


class Calls:
    """Listens, and answers calls by their paths."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        receiving: Receiving,
        largest: int,
        most: int,
    ) -> None:
        """`largest`: bytes of a message; `most`: calls at once, and connections."""
        self._handlers = handlers
        self._receiving = receiving
        self._largest = largest
        self._most = most
        self._calls: dict[Call, None] = {}
        self._server: Http2Server | None = None

    async def start(
        self, host: str, port: int, seal: Callable[[], ssl.SSLContext] | None = None, turns: Turns | None = None
    ) -> int:
        """Listen, on all addresses for an empty `host`. Returns the port, which the system chooses for port 0."""
        self._server = Http2Server(self, self._most, turns, seal)
        return await self._server.start(host, port)

    async def finish(self, seconds: float) -> None:
        """Take no new calls; those under way have so long."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.finish(seconds)

    def open(self, stream: Stream, headers: tuple[Header, ...]) -> Owner:
        """A call begins, or something else that is refused at once."""
        head = wire.head_of(headers)
        if head.refusal:
            stream.end(wire.refused(head.refusal))
            return NoCall()
        call = Call(self, stream, head, self._receiving, self._largest)
        handler = self._handlers.get(head.path)
        if len(self._calls) >= self._most:
            call.fail("RESOURCE_EXHAUSTED", "too many calls at once")
        elif handler is None:
            call.fail("UNIMPLEMENTED", "there is no such method here")
        else:
            self._calls[call] = None
            call.handler = handler
            return call
        call.refuse()
        return NoCall()

    def over(self, call: Call) -> None:
        """A call is over."""
        self._calls.pop(call, None)

    def sweep(self) -> None:
        """End those whose message does not come."""
        self._receiving.sweep()
        now = self._receiving.now()
        for call in list(self._calls):
            if call.waits and now - call.since > PATIENCE:
                call.give_up(TooSlow(f"the message did not come within {PATIENCE:g} s"))
