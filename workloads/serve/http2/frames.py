"""Frames of HTTP/2 (RFC 9113): their numbers, how they are written, and the errors that end a stream or all. Pure."""

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITIZED = 4, 8, 32
HEAD = struct.Struct(">HBBBL")
HEAD_BYTES = 9
NUMBER = struct.Struct(">L")
SETTING = struct.Struct(">HL")
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
WINDOW = 65535  # of every stream, and of a connection, before anything is said
MOST_WINDOW = (1 << 31) - 1
FRAME_BYTES = 16384  # every peer takes so many
MOST_FRAME_BYTES = (1 << 24) - 1


class Code(IntEnum):
    """Reasons for the end of a stream or of a connection."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Broken(Exception):  # noqa: N818  (it is the connection that is)
    """The connection cannot go on."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(words)
        self.code = code


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(content) >> 8, len(content) & 255, kind, flags, stream) + content


def head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Head of a frame whose content is written behind it."""
    return HEAD.pack(length >> 8, length & 255, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """Frame with one's own settings."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))


def goaway(last: int, code: Code, words: str = "") -> bytes:
    """The end is near: streams after the `last` will not be answered."""
    return frame(GOAWAY, 0, 0, NUMBER.pack(last) + NUMBER.pack(code) + words.encode()[:256])


def window_update(stream: int, more: int) -> bytes:
    """Leave to send more bytes, on a stream or (0) on the connection."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(more))


def reset(stream: int, code: Code) -> bytes:
    """The end of one stream."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(code))


def check(fine: bool, code: Code) -> None:
    """Raise Broken where something is not fine."""
    if not fine:
        raise Broken(code, "this breaks the protocol")
