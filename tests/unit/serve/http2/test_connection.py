"""What a client may send over HTTP/2, and what a turn of the loop makes of it: counted, with a transport in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime.waiting import until
from workloads.serve.http.turn import Turns
from workloads.serve.http2 import frames, reader
from workloads.serve.http2.connection import Connection
from workloads.serve.http2.frames import Code, frame
from workloads.serve.http2.hpack import literal

POST = b"\x83\x86\x84" + literal(b"content-type", b"application/grpc")
BEGIN = frames.PREFACE + frames.settings({})


class Transport:
    """Remembers what was written; whether it reads, and is open."""

    def __init__(self) -> None:
        self.written, self.reading, self.open = b"", True, True

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        self.written += b"".join(parts)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return not self.open

    def close(self) -> None:
        self.open = False

    abort = close


class Owner:
    def __init__(self) -> None:
        self.data, self.said = b"", ""

    def begin(self) -> None:
        self.said += "begun "

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.said += "ended "

    def gone(self) -> None:
        self.said += "gone "

    def sent(self) -> None: ...

    def over(self) -> None:
        self.said += "over "


class Server:
    """What a connection asks of its server."""

    def __init__(self) -> None:
        self.turns, self.opened, self.owners = Turns(), 0, []
        self.streams: list[Any] = []

    def now(self) -> float:
        return 0.0

    def add(self, connection: Connection) -> bool:
        return True

    def remove(self, connection: Connection) -> None: ...

    def open(self, stream: Any, headers: Any) -> Owner:
        self.owners.append(Owner())
        self.streams.append(stream)
        return self.owners[-1]


def connected() -> tuple[Server, Connection, Transport]:
    server, transport = Server(), Transport()
    connection = Connection(server)  # type: ignore[arg-type]
    connection.connection_made(transport)  # type: ignore[arg-type]
    return server, connection, transport


def told(transport: Transport) -> Code | None:
    """The reason of the farewell."""
    place, code = 0, None
    while place < len(transport.written):
        high, low, kind, _, _ = frames.HEAD.unpack_from(transport.written, place)
        length = high << 8 | low
        if kind == frames.GOAWAY:
            code = Code(frames.NUMBER.unpack_from(transport.written, place + 13)[0])
        place += 9 + length
    return code


def opening(number: int, ends: bool = False) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if ends else 0), number, POST)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_frames_may_be_cut_anywhere(cuts: list[int]) -> None:
    async def feed() -> None:
        server, connection, _ = connected()
        padded = frame(frames.DATA, frames.PADDED, 1, b"\x03def\0\0\0")
        stream = BEGIN + opening(1) + frame(frames.DATA, 0, 1, b"abc") + padded + frame(frames.DATA, 1, 1, b"g" * 50)
        while stream:
            for cut in cuts:
                connection.data_received(stream[:cut])
                stream = stream[cut:]
        assert server.owners[0].data == b"abcdef" + b"g" * 50
        assert sorted(server.owners[0].said.split()) == ["begun", "ended"]

    asyncio.run(feed())


FLOODS = {
    "pings": (frame(frames.PING, 0, 0, bytes(8)), Code.ENHANCE_YOUR_CALM),
    "settings": (frames.settings({}), Code.ENHANCE_YOUR_CALM),
    "priorities": (frame(frames.PRIORITY, 0, 1, bytes(5)), Code.ENHANCE_YOUR_CALM),
    "unknown": (frame(77, 0, 0, b""), Code.ENHANCE_YOUR_CALM),
    "windows": (frames.window_update(0, 1), Code.ENHANCE_YOUR_CALM),
    "nothing": (frame(frames.DATA, 0, 1, b""), Code.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_frames_that_bring_nothing_are_read_some_at_a_time_and_then_no_more(kind: str) -> None:
    """Each may be answered: 65,000 of nine bytes in one piece stood before everybody's requests."""
    one, code = FLOODS[kind]
    _, connection, transport = connected()
    connection.data_received(BEGIN + opening(1))
    connection.data_received(one * 30_000)
    assert connection.held_up, "the others' turn"
    assert len(transport.written) < 200 + reader.FRAMES * 20
    await until(lambda: not transport.open)
    assert told(transport) == code


async def test_a_connection_that_idles_goes_on_now_and_then_and_the_others_every_turn() -> None:
    """Pings, and streams given up at once, had the loop for half of the time: 12 ms of it before an answer."""
    server, idle, _ = connected()
    idle.data_received(BEGIN + FLOODS["pings"][0] * (reader.IDLES + 10 * reader.FRAMES))
    for _ in range(20):
        await asyncio.sleep(0)
    assert idle.held_up, "fewer frames in a turn, and not in every turn"
    assert idle.reader.idles
    done: list[str] = []
    server.turns.wait(lambda: done.append("idles"), idles=True)
    server.turns.wait(lambda: done.append("asks"))
    await until(lambda: len(done) == 2)
    assert done == ["asks", "idles"]
    await until(lambda: not idle.held_up)


async def test_streams_that_are_opened_and_given_up_at_once_are_bounded() -> None:
    """Rapid reset (CVE-2023-44487)."""
    server, connection, transport = connected()
    connection.data_received(BEGIN)
    numbers = range(1, 6001, 2)
    connection.data_received(b"".join(opening(one, True) + frames.reset(one, Code.CANCEL) for one in numbers))
    assert server.opened == reader.OPENED, "so many in a turn"
    await until(lambda: not transport.open)
    assert told(transport) is Code.ENHANCE_YOUR_CALM
    assert server.opened <= reader.IDLE_FRAMES // reader.RESET_COST + 1
    assert not any("begun" in owner.said for owner in server.owners), "nothing was begun for them"


async def test_headers_that_never_end_are_bounded() -> None:
    """The continuation flood (VU#421644)."""
    server, connection, transport = connected()
    connection.data_received(BEGIN + frame(frames.HEADERS, 0, 1, POST))
    connection.data_received(frame(frames.CONTINUATION, 0, 1, b"\0\0\0" * 4000) * 10)
    assert told(transport) is Code.ENHANCE_YOUR_CALM
    assert not server.opened


BROKEN = {
    "data before headers": (frame(frames.DATA, 0, 1, b"a"), Code.PROTOCOL_ERROR),
    "an even stream": (opening(2), Code.PROTOCOL_ERROR),
    "a promise": (frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a lone continuation": (frame(frames.CONTINUATION, 4, 1, b""), Code.PROTOCOL_ERROR),
    "headers within headers": (frame(frames.HEADERS, 0, 1, POST) + opening(3), Code.PROTOCOL_ERROR),
    "a large frame": (frames.head(frames.DATA, 0, 1, 1 << 20), Code.FRAME_SIZE_ERROR),
    "half a setting": (frame(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "a short ping": (frame(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "no more window": (frames.window_update(0, 0), Code.PROTOCOL_ERROR),
    "too much window": (frames.window_update(0, frames.MOST_WINDOW), Code.FLOW_CONTROL_ERROR),
    "a window for nobody": (frames.window_update(5, 1), Code.PROTOCOL_ERROR),
    "a reset of nothing": (frames.reset(5, Code.CANCEL), Code.PROTOCOL_ERROR),
    "a window of a setting": (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR),
    "a small frame size": (frames.settings({frames.MAX_FRAME_SIZE: 5}), Code.PROTOCOL_ERROR),
    "no headers": (frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "padding of all": (opening(1) + frame(frames.DATA, frames.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_breaks_the_protocol_ends_the_connection_with_its_reason(case: str) -> None:
    data, code = BROKEN[case]
    _, connection, transport = connected()
    connection.data_received(BEGIN + data)
    assert (told(transport), transport.open) == (code, False)


async def test_a_stream_that_sends_more_than_it_may_is_reset_and_the_others_go_on() -> None:
    server, connection, transport = connected()
    connection.data_received(BEGIN + opening(1) + opening(3))
    connection.data_received(frame(frames.DATA, 0, 1, bytes(50_000)) * 2)
    assert server.owners[0].said == "begun gone "
    connection.data_received(frame(frames.DATA, 1, 3, b"x"))
    assert (server.owners[1].data, transport.open) == (b"x", True)


async def test_an_answer_goes_as_far_as_the_client_lets_it() -> None:
    server, connection, transport = connected()
    connection.data_received(BEGIN + frames.settings({frames.INITIAL_WINDOW_SIZE: 10}) + opening(1, True))
    before = len(transport.written)
    server.streams[0].whole(b"h", (b"x" * 25,), b"t")
    assert transport.written[before:].count(b"x") == 10
    connection.data_received(frames.window_update(1, 10))
    assert transport.written[before:].count(b"x") == 20
    assert not server.owners[0].said.endswith("over ")
    connection.data_received(frames.window_update(1, 10))
    assert transport.written.endswith(frame(frames.HEADERS, 5, 1, b"t"))
    assert (server.owners[0].said, connection.unsent) == ("ended begun over ", 0)


async def test_a_client_without_a_table_is_told_that_none_is_used() -> None:
    server, connection, transport = connected()
    connection.data_received(BEGIN + frames.settings({frames.HEADER_TABLE_SIZE: 0}) + opening(1, True))
    server.streams[0].end(b"t")
    assert transport.written.endswith(frame(frames.HEADERS, 5, 1, b"\x20t"))


async def test_a_client_of_http_1_is_told_what_is_spoken_here() -> None:
    _, connection, transport = connected()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert b"400" in head
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert not transport.open


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_end_the_connection(data: bytes) -> None:
    async def feed() -> None:
        _, connection, _ = connected()
        connection.data_received(BEGIN + data)
        await asyncio.sleep(0)

    asyncio.run(feed())
