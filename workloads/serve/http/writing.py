"""Writing half of a connection: bytes that the client has not read yet, and the stream that is being written."""

import asyncio
from typing import TYPE_CHECKING, cast

from workloads.serve.http.output import Output
from workloads.serve.http.pace import Progress
from workloads.serve.http.stream import MOST, Stream

if TYPE_CHECKING:
    from workloads.serve.http.server import HttpServer


class Writing(asyncio.Protocol):
    """Writing half of a connection. `unsent` and `progress` are looked at by the server's sweep."""

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._output = Output()
        self._stream: Stream | None = None  # the reply that is being written
        self._last = False  # its end ends the connection
        self.since, self.progress = 0.0, Progress()
        self.unsent = 0  # bytes of replies that the client has not read yet, counted with those of requests
        self.ending = False  # the last reply is written; what still comes is thrown away
        self.write_paused = False  # the client has not read for a while

    def look_at_unsent(self) -> int:
        """Count the bytes that the client has not read yet. They are in memory, as those of requests are."""
        self._count_unsent(self._transport.get_write_buffer_size() + self._output.size)
        return self.unsent

    def _count_unsent(self, size: int) -> None:
        self._server.body_bytes += size - self.unsent
        self.unsent = size

    def _begin(self, stream: Stream, raw: bool, close: bytes) -> None:
        """Write a stream, from its head on. `close`: the line that says that the connection ends with it, or nothing.

        So does one over HTTP/1.0 (`raw`), which has no other end.
        """
        self._server.replied(stream.status)
        self._stream, self._last = stream, raw or bool(close)
        stream.take(raw, self._server.date, close, self)

    def stream(self, data: bytes, last: bool) -> None:
        """Write a piece of the stream."""
        self.since = self._server.now()
        if not (last or self.write_paused or self._output.size):
            self._transport.write(data)
            return
        self._output.add([data], last and self._last)
        if last:
            self._stream = None
        self._pump()
        if self._output.size > MOST:
            self.abort()
        elif last and self._last and not (self._output.size or self.ending):
            self.end()
        elif last and not self.ending:
            self._flush()

    def _pump(self) -> None:
        if self._output.pump(self._transport, lambda: self.write_paused):
            self.end()

    def _forget_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()

    def abort(self) -> None:
        """Cut the connection off."""
        self.ending = True
        self._transport.abort()

    def end(self) -> None:
        """Say that no more comes."""
        raise NotImplementedError

    def _flush(self) -> None:
        raise NotImplementedError
