"""What RFC 9113 and 7541 demand of a server, section by section: breaches are told by their code, the rest is taken.

The cases are those that h2spec tries, as far as they concern a server that pushes nothing.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.serve.http2.test_connection import BEGIN, POST, connected, opening, told
from workloads.serve.http2 import frames
from workloads.serve.http2.frames import Code, frame

OPEN, ENDED = opening(1), opening(1, True)
PROTOCOL, SIZE, FLOW = Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR
BREACHES = {
    "4.2 headers that are too large": (frames.head(frames.HEADERS, 4, 1, 70_000), SIZE),
    "4.3 a priority within a block": (
        frame(frames.HEADERS, 0, 1, POST) + frame(frames.PRIORITY, 0, 1, bytes(5)),
        PROTOCOL,
    ),
    "4.3 another stream within a block": (frame(frames.HEADERS, 0, 1, POST) + opening(3), PROTOCOL),
    "5.1 data on an idle stream": (frame(frames.DATA, 0, 1, b"x"), PROTOCOL),
    "5.1 a reset of an idle stream": (frames.reset(1, Code.CANCEL), PROTOCOL),
    "5.1 a window of an idle stream": (frames.window_update(1, 1), PROTOCOL),
    "5.1 a continuation of nothing": (frame(frames.CONTINUATION, 4, 1), PROTOCOL),
    "5.1.1 an even number": (opening(2), PROTOCOL),
    "6.1 data of no stream": (frame(frames.DATA, 0, 0, b"x"), PROTOCOL),
    "6.1 more padding than data": (OPEN + frame(frames.DATA, 8, 1, b"\x09abc"), PROTOCOL),
    "6.2 headers of no stream": (frame(frames.HEADERS, 5, 0, POST), PROTOCOL),
    "6.2 more padding than headers": (frame(frames.HEADERS, 13, 1, b"\xff" + POST), PROTOCOL),
    "6.3 a priority of no stream": (frame(frames.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "6.3 a priority of four bytes": (frame(frames.PRIORITY, 0, 1, bytes(4)), SIZE),
    "6.4 a reset of no stream": (frames.reset(0, Code.CANCEL), PROTOCOL),
    "6.4 a reset of three bytes": (OPEN + frame(frames.RST_STREAM, 0, 1, bytes(3)), SIZE),
    "6.5 an acknowledgement with content": (frame(frames.SETTINGS, 1, 0, bytes(6)), SIZE),
    "6.5 settings of a stream": (frame(frames.SETTINGS, 0, 1), PROTOCOL),
    "6.5 settings of five bytes": (frame(frames.SETTINGS, 0, 0, bytes(5)), SIZE),
    "6.5.2 a push that is neither on nor off": (frames.settings({frames.ENABLE_PUSH: 2}), PROTOCOL),
    "6.5.2 a window that is too large": (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), FLOW),
    "6.5.2 frames that are too small": (frames.settings({frames.MAX_FRAME_SIZE: 100}), PROTOCOL),
    "6.5.2 frames that are too large": (frames.settings({frames.MAX_FRAME_SIZE: 1 << 24}), PROTOCOL),
    "6.6 a push": (frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + POST), PROTOCOL),
    "6.7 a ping of a stream": (frame(frames.PING, 0, 1, bytes(8)), PROTOCOL),
    "6.7 a ping of seven bytes": (frame(frames.PING, 0, 0, bytes(7)), SIZE),
    "6.8 a farewell of a stream": (frame(frames.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "6.9 a window of nothing": (frames.window_update(0, 0), PROTOCOL),
    "6.9 a window of three bytes": (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "6.9.1 a window that overflows": (frames.window_update(0, frames.MOST_WINDOW), FLOW),
    "6.10 a continuation behind the end": (OPEN + frame(frames.CONTINUATION, 4, 1), PROTOCOL),
    "8.1 second headers that end nothing": (OPEN + frame(frames.HEADERS, 4, 1, POST), PROTOCOL),
    "7541 6.1 an index of nothing": (frame(frames.HEADERS, 5, 1, b"\x80"), Code.COMPRESSION_ERROR),
    "7541 2.3.3 an index beyond the tables": (frame(frames.HEADERS, 5, 1, b"\xff\x49"), Code.COMPRESSION_ERROR),
    "7541 6.3 a table that is too large": (
        frame(frames.HEADERS, 5, 1, b"\x3f\xff\xff\xff\x0f" + POST),
        Code.COMPRESSION_ERROR,
    ),
}
TAKEN = {
    "4.1 a kind that nobody knows": frame(99, 0, 0, b"x"),
    "4.1 flags that nobody knows": frame(frames.PING, 0xFE, 0, bytes(8)),
    "5.1 a late end of a stream that was given up": OPEN
    + frames.reset(1, Code.CANCEL)
    + frame(frames.HEADERS, 5, 1, POST),
    "6.5.2 a setting that nobody knows": frames.settings({99: 1}),
    "6.1 data that is nothing but padding": OPEN + frame(frames.DATA, 8, 1, b"\3\0\0\0"),
    "6.8 a farewell": frame(frames.GOAWAY, 0, 0, bytes(8)),
    "7 a reason that nobody knows": OPEN + frame(frames.RST_STREAM, 0, 1, b"\0\0\1\xff"),
}


@pytest.mark.parametrize("name", BREACHES)
async def test_a_breach_ends_the_connection_with_its_code(name: str) -> None:
    sent, code = BREACHES[name]
    _, connection, transport = connected()
    connection.data_received(BEGIN + sent)
    assert (told(transport), transport.open) == (code, False)


@pytest.mark.parametrize("name", TAKEN)
async def test_what_may_be_ignored_ends_nothing(name: str) -> None:
    server, connection, transport = connected()
    connection.data_received(BEGIN + TAKEN[name] + opening(7, True))
    await asyncio.sleep(0)
    assert (told(transport), transport.open) == (None, True)
    assert "begun" in server.owners[-1].said


async def test_the_first_frame_is_the_clients_settings() -> None:
    """Section 3.4."""
    _, connection, transport = connected()
    connection.data_received(frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)))
    assert told(transport) is PROTOCOL


@pytest.mark.parametrize("more", [frame(frames.DATA, 0, 1, b"x"), frame(frames.HEADERS, 5, 1, POST)])
async def test_what_follows_a_streams_end_ends_the_stream_alone(more: bytes) -> None:
    """Section 5.1, half-closed (remote)."""
    server, connection, transport = connected()
    connection.data_received(BEGIN + ENDED + more + opening(3, True))
    assert told(transport) is None
    assert frames.reset(1, Code.STREAM_CLOSED) in transport.written
    assert ["gone" in owner.said for owner in server.owners] == [True, False]
