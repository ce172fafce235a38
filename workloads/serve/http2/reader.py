"""Frames out of a connection's bytes, and headers and content out of frames. Used by connection.py.

Content is handed on in the pieces in which it comes, whatever its frame's length. Frames that bring nothing are
counted: their sender is sent away after so many.
"""

from typing import TYPE_CHECKING

from workloads.serve.http2 import frames
from workloads.serve.http2.frames import Broken, Code, check
from workloads.serve.http2.hpack import LIST_BYTES, Decoder
from workloads.serve.http2.stream import Stream

if TYPE_CHECKING:
    from workloads.serve.http2.connection import Connection

FRAMES, OPENED = 64, 8  # in one turn
FRAME_COST, OPENED_COST = 2, 25  # about microseconds
CONTENT_BYTES = 64 << 10  # of a frame that a client may send
BLOCK_BYTES = 96 << 10  # of a block of headers, as it comes; a call has a sixth of it
STREAMS = 1000  # at once
# The memory of what comes is counted by stream, so the connection's own window is never what a client waits for.
REFILL = 1 << 30
# Frames that bring nothing: so many at once, and after that as many as are forgiven in each sweep.
IDLE_FRAMES, FORGIVEN = 10_000, 1_000
# And so many until their sender goes on at the pace of those that idle, by fewer frames and streams at a time.
IDLES, IDLERS_FRAMES, IDLERS_OPENED = 256, 32, 4
RESET_COST = 10
PRIORITY_BYTES = 5
OPENS = bytes([frames.HEADERS])
HTTP1 = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 30\r\n\r\nthis port speaks gRPC, HTTP/2\n"
HTTP1_METHODS = (b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT ")


class FrameReader:
    """`begun`: the client has shown that it speaks HTTP/2; `last`: its newest stream."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._decoder = Decoder()
        self.begun = self._settled = False
        self.last = 0
        self._idle_frames = 0
        self._window = frames.WINDOW
        # A frame of content that has not come as a whole.
        self._left, self._left_ends = 0, False
        self._left_stream: Stream | None = None
        # A block of headers that has not.
        self._block: bytearray | None = None
        self._block_stream, self._block_ends = 0, False

    @property
    def idles(self) -> bool:
        """True for a client that has asked for little but the transport's own answers."""
        return self._idle_frames > IDLES

    def forgive(self) -> None:
        """Time has passed."""
        self._idle_frames = max(0, self._idle_frames - FORGIVEN)

    def read(self, data: bytes) -> int:
        """Place behind the last frame that is read now. Raises Broken, BadBlock."""
        count, opened = 0, self._connection.opened
        place, size = 0 if self.begun else self._begin(data), len(data)
        if not self.begun:
            return 0
        while place < size:
            if self._left:
                end = min(size, place + self._left)
                self._left -= end - place
                self._content(data[place:end])
                place = end
                continue
            most, most_opened = (IDLERS_FRAMES, IDLERS_OPENED) if self._idle_frames > IDLES else (FRAMES, OPENED)
            full = self._connection.opened - opened >= most_opened and data[place + 3 : place + 4] == OPENS
            if count >= most or full:
                self._connection.wait()
                break
            count += 1
            after = self._frame(data, place)
            if not after:
                break
            place = after
        self._connection.spend(FRAME_COST * count + OPENED_COST * (self._connection.opened - opened))
        return place

    def _frame(self, data: bytes, place: int) -> int:
        """Place behind a frame, or behind the head of one with content; 0 for one that is not whole."""
        if len(data) - place < frames.HEAD_BYTES:
            return 0
        high, low, kind, flags, number = frames.HEAD.unpack_from(data, place)
        length, number = high << 8 | low, number & frames.MOST_WINDOW
        if length > CONTENT_BYTES:
            raise Broken(Code.FRAME_SIZE_ERROR, f"a frame of more than {CONTENT_BYTES} bytes")
        if self._block is not None and (kind != frames.CONTINUATION or number != self._block_stream):
            raise Broken(Code.PROTOCOL_ERROR, "a block of headers is interrupted")
        if not self._settled:
            check(kind == frames.SETTINGS and not flags & frames.ACK, Code.PROTOCOL_ERROR)
            self._settled = True
        place += frames.HEAD_BYTES
        if kind == frames.DATA and not flags & frames.PADDED:
            self._begin_content(number, length, length, bool(flags & frames.END_STREAM))
            return int(place)
        if len(data) < place + length:
            return 0
        self._take(kind, flags, number, data[place : place + length])
        return int(place + length)

    def _begin(self, data: bytes) -> int:
        """Bytes of the preface, 0 when it is not whole."""
        if not data.startswith(frames.PREFACE):
            if frames.PREFACE.startswith(data):
                return 0
            if data.startswith(HTTP1_METHODS):
                self._connection.write(HTTP1)
            raise Broken(Code.PROTOCOL_ERROR, "not HTTP/2")
        self.begun = True
        own = {
            frames.MAX_CONCURRENT_STREAMS: STREAMS,
            frames.MAX_FRAME_SIZE: CONTENT_BYTES,
            frames.MAX_HEADER_LIST_SIZE: LIST_BYTES,
        }
        self._connection.write(frames.settings(own) + frames.window_update(0, frames.MOST_WINDOW - self._window))
        self._window = frames.MOST_WINDOW
        return len(frames.PREFACE)

    def _begin_content(self, number: int, length: int, content: int, ends: bool) -> None:
        """A frame of content of so many bytes with its padding, and without."""
        if not 0 < number <= self.last:
            raise Broken(Code.PROTOCOL_ERROR, "content on a stream that is not open")
        self._window -= length
        if self._window < REFILL:
            self._connection.write(frames.window_update(0, frames.MOST_WINDOW - self._window))
            self._window = frames.MOST_WINDOW
        stream = self._connection.streams.get(number)
        if stream is not None:
            stream.window -= length
            if stream.window < 0 or stream.half_closed:
                code = Code.STREAM_CLOSED if stream.half_closed else Code.FLOW_CONTROL_ERROR
                self._connection.write(frames.reset(number, code))
                self._connection.forget(stream, gone=True)
                stream = None
        if content:
            self._idle_frames = max(0, self._idle_frames - 1)
        else:
            self.idle(0 if ends else 1)
        if ends:
            self._connection.early.end_came(number)
        self._left, self._left_stream, self._left_ends = content, stream, ends
        if not content:
            self._end_content()

    def _content(self, data: bytes) -> None:
        stream = self._left_stream
        if stream is not None and not stream.closed and stream.owner is not None:
            stream.owner.received(data)
        if not self._left:
            self._end_content()

    def _end_content(self) -> None:
        stream, self._left_stream = self._left_stream, None
        if stream is not None and self._left_ends:
            self._connection.ended(stream)

    def idle(self, cost: int) -> None:
        """A frame that brings nothing: so many are taken."""
        self._idle_frames += cost
        if self._idle_frames > IDLE_FRAMES:
            raise Broken(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def _take(self, kind: int, flags: int, number: int, content: bytes) -> None:
        if kind == frames.HEADERS:
            self._begin_block(flags, number, content)
        elif kind == frames.WINDOW_UPDATE:
            self._connection.widen(number, content)
        elif kind == frames.SETTINGS:
            _check_settings(flags, content)
            self._connection.set(flags, number, content)
        elif kind == frames.RST_STREAM:
            self._connection.reset(number, content)
        elif kind == frames.PING:
            self._ping(flags, number, content)
        elif kind == frames.DATA:
            self._padded(flags, number, content)
        elif kind == frames.CONTINUATION:
            check(self._block is not None, Code.PROTOCOL_ERROR)
            self.idle(1)
            self._more_block(flags, content)
        else:  # priorities, farewells, and kinds that nobody knows yet
            check(kind != frames.PUSH_PROMISE, Code.PROTOCOL_ERROR)
            check(kind != frames.GOAWAY or number == 0, Code.PROTOCOL_ERROR)
            if kind == frames.PRIORITY:
                check(number > 0, Code.PROTOCOL_ERROR)
                check(len(content) == PRIORITY_BYTES, Code.FRAME_SIZE_ERROR)
            self.idle(1)

    def _ping(self, flags: int, number: int, content: bytes) -> None:
        self.idle(1)
        check(len(content) == 8, Code.FRAME_SIZE_ERROR)
        check(number == 0, Code.PROTOCOL_ERROR)
        if not flags & frames.ACK:
            self._connection.write(frames.frame(frames.PING, frames.ACK, 0, content))

    def _padded(self, flags: int, number: int, padded: bytes) -> None:
        content = _unpadded(padded)
        self._begin_content(number, len(padded), len(content), bool(flags & frames.END_STREAM))
        if content:
            self._left = 0
            self._content(content)

    def _begin_block(self, flags: int, number: int, content: bytes) -> None:
        check(number & 1 == 1, Code.PROTOCOL_ERROR)
        if flags & frames.PADDED:
            content = _unpadded(content)
        if flags & frames.PRIORITIZED:
            check(len(content) >= 5, Code.FRAME_SIZE_ERROR)
            content = content[5:]
        if number <= self.last and number not in self._connection.streams:
            # One of ours that is answered already: what the client sends behind it must still be decoded.
            self.idle(RESET_COST)
        self._block, self._block_stream = bytearray(), number
        self._block_ends = bool(flags & frames.END_STREAM)
        self._more_block(flags, content)

    def _more_block(self, flags: int, content: bytes) -> None:
        block = self._block
        assert block is not None  # noqa: S101  (the callers have looked)
        block += content
        if len(block) > BLOCK_BYTES:
            raise Broken(Code.ENHANCE_YOUR_CALM, f"headers of more than {BLOCK_BYTES} bytes")
        if flags & frames.END_HEADERS:
            self._block = None
            self._headers(self._block_stream, bytes(block), self._block_ends)

    def _headers(self, number: int, block: bytes, ends: bool) -> None:
        headers = self._decoder.headers(block)
        if number <= self.last:
            stream = self._connection.streams.get(number)
            self._connection.early.end_came(number)
            if stream is not None and stream.half_closed:
                self._connection.write(frames.reset(number, Code.STREAM_CLOSED))
                self._connection.forget(stream, gone=True)
            elif stream is not None:
                check(ends, Code.PROTOCOL_ERROR)
                self._connection.ended(stream)
            return
        self.last = number
        if len(self._connection.streams) >= STREAMS or (self._connection.leaving and number > self._connection.leaving):
            self.idle(RESET_COST)
            self._connection.write(frames.reset(number, Code.REFUSED_STREAM))
            return
        self._connection.open(number, headers, ends)


def _check_settings(flags: int, content: bytes) -> None:
    if flags & frames.ACK:
        check(not content, Code.FRAME_SIZE_ERROR)
        return
    check(len(content) % frames.SETTING.size == 0, Code.FRAME_SIZE_ERROR)
    pushes = (value for name, value in frames.SETTING.iter_unpack(content) if name == frames.ENABLE_PUSH)
    check(all(value <= 1 for value in pushes), Code.PROTOCOL_ERROR)


def _unpadded(content: bytes) -> bytes:
    """Content of a frame without its padding."""
    check(bool(content) and content[0] < len(content), Code.PROTOCOL_ERROR)
    return content[1 : len(content) - content[0]]
