"""Copies of requests: whole, of the share asked for, never of copies, and never more than can be afforded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from workloads.serve import mirror
from workloads.serve.http import Request
from workloads.serve.http.message import COPY
from workloads.serve.mirror import MOST, Mirror, Target, read_target

REQUEST = Request(
    b"POST",
    b"/v2/models/m/infer",
    {b"content-type": b"application/octet-stream", b"inference-header-content-length": b"2", b"content-length": b"6"},
    b"{}data",
)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Mirrored:
    """A mirror beside a server of the test's own."""

    def __init__(self, place: Path, port: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.place, self.port = place, port
        self.mirror = Mirror(place, self.outcomes, look_seconds=0.01)

    def tell(self, percent: int) -> None:
        self.place.write_text(json.dumps({"url": f"http://127.0.0.1:{self.port}", "percent": percent}))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110  (what is awaited tells nobody)
                await asyncio.sleep(0.005)

    @property
    def percent(self) -> int | None:
        return self.mirror._target.percent if self.mirror._target else None


@asynccontextmanager
async def mirrored(folder: Path, serve: Serve | None) -> AsyncIterator[Mirrored]:
    """`serve` None: nobody listens."""
    server = await asyncio.start_server(serve or _hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if serve is None:
        server.close()
        await server.wait_closed()
    there = Mirrored(folder / "mirror.json", port)
    following = asyncio.create_task(there.mirror.follow())
    try:
        yield there
    finally:
        following.cancel()
        for copy in there.mirror._copies:
            copy.cancel()
        server.close()


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


class Recorder:
    """Answers well, and keeps what came."""

    def __init__(self) -> None:
        self.came: list[tuple[list[bytes], bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length"))
        self.came.append((head, await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
        writer.close()


def test_a_copy_is_the_whole_request_and_says_that_it_is_one(tmp_path: Path) -> None:
    async def play() -> None:
        recorder = Recorder()
        async with mirrored(tmp_path, recorder) as there:
            there.mirror.offer(REQUEST)
            there.tell(100)
            await there.until(lambda: there.percent == 100)
            there.mirror.offer(REQUEST)
            await there.until(lambda: there.outcomes["sent"] == 1 and not there.mirror._copies)
            there.mirror.offer(Request(REQUEST.method, REQUEST.path, {**REQUEST.headers, COPY: b"1"}, b""))
            assert not there.mirror._copies, "copies are not copied"
        ((head, body),) = recorder.came
        assert head[0] == b"POST /v2/models/m/infer HTTP/1.1"
        assert body == REQUEST.body
        assert {
            b"slipway-copy: 1",
            b"inference-header-content-length: 2",
            b"content-type: application/octet-stream",
        } <= {*head}
        assert there.mirror._bytes == 0

    asyncio.run(play())


def test_the_share_is_exact_and_follows_the_file(tmp_path: Path) -> None:
    async def play() -> None:
        async with mirrored(tmp_path, Recorder()) as there:
            sent = 0
            for percent, wanted in ((25, 10), (100, 40), (0, 0), (99, 39)):
                there.tell(percent)
                await there.until(lambda percent=percent: there.percent == percent)
                for _ in range(40):
                    there.mirror.offer(REQUEST)
                    await there.until(lambda: not there.mirror._copies)
                assert there.outcomes["sent"] - sent == wanted
                sent = there.outcomes["sent"]
            there.place.unlink()
            await there.until(lambda: there.percent is None)
            there.mirror.offer(REQUEST)
            assert not there.mirror._copies

    asyncio.run(play())


def test_one_that_hangs_holds_few_copies_and_the_rest_are_dropped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mirror, "COPY_SECONDS", 0.2)

    async def play() -> None:
        async with mirrored(tmp_path, _hang) as there:
            there.tell(100)
            await there.until(lambda: there.percent == 100)
            for _ in range(10 * MOST):
                there.mirror.offer(REQUEST)
            assert len(there.mirror._copies) == MOST
            assert there.outcomes == {"dropped": 9 * MOST}
            await there.until(lambda: there.outcomes["failed"] == MOST and not there.mirror._copies)
            assert there.mirror._bytes == 0

    asyncio.run(play())


def test_one_that_is_not_there_only_counts(tmp_path: Path) -> None:
    async def play() -> None:
        async with mirrored(tmp_path, None) as there:
            there.tell(100)
            await there.until(lambda: there.percent == 100)
            there.mirror.offer(REQUEST)
            await there.until(lambda: there.outcomes["failed"] == 1)

    asyncio.run(play())


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"url": "x", "percent": 1}', '{"url": "http://a", "percent": 101}', '{"url": "http://a"}']
)
def test_a_file_that_makes_no_sense_is_no_target(tmp_path: Path, text: str) -> None:
    (tmp_path / "mirror.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011  (each has words of its own)
        read_target(tmp_path / "mirror.json")


def test_a_file_that_is_read(tmp_path: Path) -> None:
    assert read_target(tmp_path / "none") is None
    (tmp_path / "mirror.json").write_text('{"url": "http://digits-ab.team.svc:80", "percent": 20}')
    assert read_target(tmp_path / "mirror.json") == Target("digits-ab.team.svc", 80, 20)
