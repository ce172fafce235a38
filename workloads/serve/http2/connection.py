"""One client's connection: frames in, streams' answers out. Called by the event loop; one object per connection.

Whatever comes, a turn of the loop reads one piece of it, so many frames and so many new streams; then it is the other
clients' turn.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from workloads.serve.http.pace import Progress
from workloads.serve.http2 import frames
from workloads.serve.http2.frames import Broken, Code, check
from workloads.serve.http2.hpack import NO_TABLE, TABLE_BYTES, BadBlock, Header
from workloads.serve.http2.reader import CONTENT_BYTES, RESET_COST, FrameReader
from workloads.serve.http2.stream import EarlyAnswers, Stream

if TYPE_CHECKING:
    from workloads.serve.http2.server import Http2Server

SLOWEST = 1024.0  # bytes of an answer in a second


class Connection(asyncio.Protocol):
    """`since` and what is unsent are looked at by the server's sweep."""

    def __init__(self, server: "Http2Server") -> None:
        self._server = server
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.reader = FrameReader(self)
        self.streams: dict[int, Stream] = {}
        self.peer = self.client = ""
        self.since = server.now()
        self.ending = self.write_paused = False
        self.leaving = 0  # the last stream that is answered, once this server leaves
        self.unsent = 0
        self.moved = 0  # bytes of content that the client has taken
        self.progress = Progress()
        self._rest = b""
        self._new: list[Stream] = []  # of this turn: they begin at its end, if they are not given up by then
        self._later = False  # what was read waits for the next turn
        self.wanted = self._first = frames.WINDOW  # what the client lets come: in all, and on a new stream
        self._frame_bytes = frames.FRAME_BYTES
        self._no_table = False
        self.early = EarlyAnswers(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register a client, or close the connection when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername") or ("", 0)
        self.client = str(name[0])
        self.peer = f"ipv6:[{name[0]}]:{name[1]}" if ":" in self.client else f"ipv4:{name[0]}:{name[1]}"
        if not self._server.add(self):
            self.ending = True
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection, which is gone."""
        self.ending, self._rest = True, b""
        for stream in list(self.streams.values()):
            self.forget(stream, gone=True)
        self.early.forget()
        self._server.remove(self)

    def eof_received(self) -> bool:
        """A client that has closed its end reads no more: of HTTP/2 it must answer to what it reads."""
        return False

    @property
    def held_up(self) -> bool:
        """True while nothing is read from the client, for a reason of its own."""
        return self._later or (self.write_paused and not self.ending)

    def pause_writing(self) -> None:
        """Read nothing, send nothing: the client does not read."""
        self.write_paused, self.since = True, self._server.now()
        if not self._later:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.write_paused = False
        if not self._later:
            self._transport.resume_reading()
        for stream in list(self.streams.values()):
            if stream.out:
                self.pump(stream)

    # what comes

    def data_received(self, data: bytes) -> None:
        """Read frames of the client; what is too much for one turn is read in the next one."""
        self._server.turns.took(len(data), self._transport, self)
        if self._later:
            self._rest += data
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        self._read(data)

    def _read(self, data: bytes) -> None:
        if self.ending:
            return
        try:
            place = self.reader.read(data)
        except (Broken, BadBlock) as error:
            self.end(error.code if isinstance(error, Broken) else Code.COMPRESSION_ERROR, str(error))
            return
        self._rest = data[place:] if place < len(data) else b""
        new, self._new = self._new, []
        for stream in new:
            if not stream.closed and stream.owner is not None:
                stream.owner.begin()

    def wait(self) -> None:
        """Let the others have their turn."""
        self._later = True
        self._transport.pause_reading()
        self._server.turns.wait(self._go_on, self.reader.idles)

    def spend(self, cost: int) -> None:
        """Work of this turn."""
        self._server.turns.spend(cost)

    def _go_on(self) -> None:
        self._later = False
        data, self._rest = self._rest, b""
        self._read(data)
        if not self._later and not self.write_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def ended(self, stream: Stream) -> None:
        """The client sends no more on a stream."""
        stream.half_closed = True
        if not stream.closed and stream.owner is not None:
            stream.owner.ended()

    @property
    def opened(self) -> int:
        """Streams that all clients have opened so far."""
        return self._server.opened

    def open(self, number: int, headers: tuple[Header, ...], ends: bool) -> None:
        """The client opens a stream."""
        stream = Stream(self, number, self._first)
        self.streams[number] = stream
        self._server.opened += 1
        stream.owner = self._server.open(stream, headers)
        self._new.append(stream)
        if ends:
            self.ended(stream)

    def widen(self, number: int, content: bytes) -> None:
        """The client lets more come."""
        check(len(content) == 4, Code.FRAME_SIZE_ERROR)
        more = frames.NUMBER.unpack(content)[0] & frames.MOST_WINDOW
        check(more > 0 and number <= self.reader.last, Code.PROTOCOL_ERROR)
        if not self.unsent:
            self.reader.idle(1)
        if number == 0:
            self.wanted += more
            check(self.wanted <= frames.MOST_WINDOW, Code.FLOW_CONTROL_ERROR)
            for stream in list(self.streams.values()) if self.unsent else ():
                if stream.out:
                    self.pump(stream)
        elif (one := self.streams.get(number)) is not None:
            one.wanted += more
            check(one.wanted <= frames.MOST_WINDOW, Code.FLOW_CONTROL_ERROR)
            self.pump(one)

    def set(self, flags: int, number: int, content: bytes) -> None:
        """The client's settings."""
        self.reader.idle(1)
        check(number == 0, Code.PROTOCOL_ERROR)
        if flags & frames.ACK:
            return
        for name, value in frames.SETTING.iter_unpack(content):
            if name == frames.INITIAL_WINDOW_SIZE:
                check(value <= frames.MOST_WINDOW, Code.FLOW_CONTROL_ERROR)
                more, self._first = value - self._first, value
                for stream in list(self.streams.values()):
                    stream.wanted += more
                    self.pump(stream)
            elif name == frames.MAX_FRAME_SIZE:
                check(frames.FRAME_BYTES <= value <= frames.MOST_FRAME_BYTES, Code.PROTOCOL_ERROR)
                self._frame_bytes = min(value, CONTENT_BYTES)
            elif name == frames.HEADER_TABLE_SIZE and value < TABLE_BYTES:
                self._no_table = True
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def reset(self, number: int, content: bytes) -> None:
        """The client does not want an answer any more."""
        check(len(content) == 4, Code.FRAME_SIZE_ERROR)
        check(0 < number <= self.reader.last, Code.PROTOCOL_ERROR)
        self.reader.idle(RESET_COST)
        self.early.end_came(number)
        stream = self.streams.get(number)
        if stream is not None:
            self.forget(stream, gone=True)

    # what goes

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def write_headers(self, number: int, block: bytes, ends: bool, behind: bytes = b"") -> None:
        """A block of headers, and what is behind it."""
        if self._no_table:
            self._no_table, block = False, NO_TABLE + block
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        for place in range(0, len(block), self._frame_bytes):
            kind = frames.CONTINUATION if place else frames.HEADERS
            last = place + self._frame_bytes >= len(block)
            piece = block[place : place + self._frame_bytes]
            self.write(frames.frame(kind, flags if last else 0, number, piece) + (behind if last else b""))

    def takes(self, stream: Stream, size: int) -> bool:
        """Tell whether content of so many bytes can be written at once, in one frame."""
        return not (self.write_paused or stream.out) and size <= min(self.wanted, stream.wanted, self._frame_bytes)

    def pump(self, stream: Stream) -> None:
        """Write content for as long as the client takes it."""
        while stream.out and not self.write_paused:
            size = min(self.wanted, stream.wanted, self._frame_bytes, len(stream.out[0]))
            if size <= 0:
                return
            part = stream.out[0]
            self._transport.writelines([frames.head(frames.DATA, 0, stream.number, size), part[:size]])
            stream.wanted -= size
            self.wanted -= size
            self.moved += size
            stream.unsent -= size
            self.unsent -= size
            if size < len(part):
                stream.out[0] = part[size:]
            else:
                stream.out.popleft()
        if not stream.out and not stream.closed:
            if stream.owner is not None:
                stream.owner.sent()
            stream.finish()

    def forget(self, stream: Stream, gone: bool = False) -> None:
        """The stream is over. `gone`: before it was answered."""
        if stream.closed:
            return
        stream.closed = True
        self.streams.pop(stream.number, None)
        self.unsent -= stream.unsent
        stream.unsent = 0
        stream.out.clear()
        self.since = self._server.now()
        if stream.owner is not None:
            (stream.owner.gone if gone else stream.owner.over)()
        if self.leaving and not self.streams:
            self.close()

    # the end

    def look(self, now: float, begin: float, write: float) -> None:
        """A look at it, now and then: end what takes too long."""
        self.reader.forgive()
        if self.ending or not self.reader.begun:
            if now - self.since > begin:
                self.abort()
        elif not (self.unsent or self.write_paused):
            self.progress = Progress()
        elif self.progress.stalled(self.moved, now, write, SLOWEST):
            self.abort()

    def leave(self, last: bool) -> None:
        """Take no new streams: first it is only said, then it holds."""
        if self.ending:
            return
        if not self.reader.begun:
            self.close()
            return
        self.write(frames.goaway(self.reader.last if last else frames.MOST_WINDOW, Code.NO_ERROR))
        if last:
            self.leaving = self.reader.last or 1
            if not self.streams:
                self.close()

    def end(self, code: Code, words: str) -> None:
        """The client breaks the protocol."""
        if self.reader.begun and not self.ending:
            self.write(frames.goaway(self.reader.last, code, words))
        self.close()

    def close(self) -> None:
        """Close the connection once all is written."""
        self.ending, self._rest = True, b""
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection off."""
        self.ending = True
        self._transport.abort()
