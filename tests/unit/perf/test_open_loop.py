"""The open loop counts what a closed one leaves out: requests that were due while the server stalled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.perf.serving import open_loop

STALL = 0.4


class Stalling:
    """Answers at once, but not at all for a while after its hundredth request: one thread, like a busy event loop."""

    def __init__(self) -> None:
        self.port = 0
        self.answered = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            self.answered += 1
            if self.answered == 100:
                threading.Event().wait(STALL)
            status = b"200 OK" if body == b"good" else b"429 Too Many Requests"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture
def server() -> Iterator[Stalling]:
    made = Stalling()
    yield made
    made.stop()


def test_a_stall_shows_in_the_tail_though_few_requests_were_under_way(server: Stalling) -> None:
    found = open_loop.run(server.port, open_loop.request_bytes("/", {}, b"good"), rate=300, seconds=1.5)
    assert found["lost"] == found["refused"] == 0
    assert found["p99_ms"] > STALL * 1000 / 2
    assert found["p50_ms"] < STALL * 1000


def test_the_capacity_counts_what_is_answered_and_no_more_than_there_was_time_for(server: Stalling) -> None:
    found = open_loop.capacity(server.port, open_loop.request_bytes("/", {}, b"good"), seconds=1.0)
    assert 0 < found <= server.answered


def test_refusals_are_counted_and_are_no_latencies(server: Stalling) -> None:
    found = open_loop.run(server.port, open_loop.request_bytes("/", {}, b"bad"), rate=50, seconds=0.5)
    assert found["refused"] > 10
    assert found["p50_ms"] != found["p50_ms"]
