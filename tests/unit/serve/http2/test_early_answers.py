"""Streams that are answered before their clients have sent all, as a gateway that shares a connection sees them."""

from __future__ import annotations

import pytest

from tests.unit.runtime.waiting import until
from tests.unit.serve.http2.test_connection import BEGIN, POST, Transport, connected, opening
from workloads.serve.http2 import frames
from workloads.serve.http2 import stream as module
from workloads.serve.http2.frames import Code, frame


def resets(transport: Transport) -> int:
    """Streams that the server has reset."""
    place = count = 0
    while place < len(transport.written):
        high, low, kind, _, _ = frames.HEAD.unpack_from(transport.written, place)
        count += kind == frames.RST_STREAM
        place += 9 + (high << 8 | low)
    return count


ENDS = {
    "content": frame(frames.DATA, frames.END_STREAM, 1, b"a"),
    "an empty frame": frame(frames.DATA, frames.END_STREAM, 1, b""),
    "trailers": frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, POST),
    "a reset": frames.reset(1, Code.CANCEL),
}


@pytest.mark.parametrize("name", [*ENDS, "nothing"])
async def test_a_stream_that_is_answered_early_is_reset_only_where_its_end_does_not_come(name, monkeypatch) -> None:
    """nginx answered 502 to the next call on its connection: it had forgotten the stream that a frame came for."""
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    server, connection, transport = connected()
    connection.data_received(BEGIN + opening(1))
    server.streams[0].end(b"\x88")
    connection.data_received(ENDS.get(name, b""))
    if name == "nothing":
        await until(lambda: resets(transport) == 1)
    else:
        assert not connection.early.timers
        assert not resets(transport)
    connection.connection_lost(None)
