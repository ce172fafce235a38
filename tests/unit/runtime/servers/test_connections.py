"""Connections over real sockets and TLS: what each kind of slow, greedy or talkative peer gets, and what others get."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web

from slipway.runtime.connections.limits import Limits
from slipway.runtime.self_signed import certificate
from slipway.runtime.servers.progress_server import MAX_BODY
from slipway.runtime.servers.server import listening
from tests.unit.runtime.waiting import until

FAST = Limits(seconds=0.5)
HEAD = b"POST /posts HTTP/1.1\r\nHost: x\r\n"
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Port:
    """A listener, and how it was used."""

    number: int
    trust: ssl.SSLContext | None
    cut: Counter[str] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)

    def count(self, reason: str) -> None:
        self.cut[reason] += 1

    async def connect(self, source: str = "127.0.0.1", *, tls: bool = True) -> Pair:
        raw = socket.socket()
        raw.setblocking(False)
        raw.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.number))
        trust = self.trust if tls else None
        return await asyncio.open_connection(sock=raw, ssl=trust, server_hostname="127.0.0.1" if trust else None)

    async def post(self, source: str = "127.0.0.1", body: bytes = b"{}", more: bytes = b"") -> bytes:
        """The answer's first line."""
        reader, writer = await self.connect(source)
        writer.write(HEAD + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        line = await asyncio.wait_for(reader.readline(), 20)
        writer.transport.abort()
        return line


Listen = Callable[..., contextlib.AbstractAsyncContextManager[Port]]


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def listen(request: pytest.FixtureRequest) -> Listen:
    @contextlib.asynccontextmanager
    async def start(limits: Limits = FAST, *, wait: float = 0.0) -> AsyncIterator[Port]:
        made = certificate(("127.0.0.1",)) if request.param else None
        trust = ssl.create_default_context(cadata=made.authority) if made else None
        port = Port(0, trust)

        async def answer(post: web.Request) -> web.Response:
            await asyncio.sleep(wait)
            port.bodies.append(await post.read())
            return web.Response(body=b"x" * 1_000_000)

        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes([web.post("/posts", answer)])
        tls = made.context() if made else None
        async with listening(app, 0, host="127.0.0.1", tls=tls, limits=limits, ended=port.count) as port.number:
            yield port

    return start


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended the connection."""
    with contextlib.suppress(OSError):
        while await asyncio.wait_for(reader.read(65536), 20):
            pass
    return True


@pytest.mark.parametrize(
    "said",
    [b"", b"\x16\x03", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n"],
)
async def test_what_is_not_finished_is_cut_off(listen: Listen, said: bytes) -> None:
    async with listen() as port:
        reader, writer = await port.connect(tls=not said.startswith(b"\x16"))
        writer.write(said)
        assert await ended(reader)
        assert port.cut["seconds"] == (0 if said.startswith(b"\x16") and port.trust is None else 1)


async def test_a_connection_that_never_shakes_hands_is_cut_off(listen: Listen) -> None:
    async with listen() as port:
        reader, _ = await port.connect(tls=False)
        assert await ended(reader)
        assert port.cut == {"seconds": 1}


@pytest.mark.parametrize(
    "start", [b"GET /", HEAD, HEAD + b"Content-Length: 60000\r\n\r\n"], ids=["line", "head", "body"]
)
async def test_a_byte_now_and_then_buys_no_time(listen: Listen, start: bytes) -> None:
    async with listen() as port:
        reader, writer = await port.connect()
        writer.write(start)
        over = asyncio.create_task(ended(reader))
        while not over.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert port.cut["seconds"] == 1


async def test_a_peer_that_does_not_read_its_answer_is_cut_off(listen: Listen) -> None:
    async with listen() as port:
        reader, writer = await port.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await until(lambda: port.cut["seconds"] == 1)


async def test_one_request_a_connection_whatever_comes_behind_it(listen: Listen) -> None:
    async with listen() as port:
        reader, writer = await port.connect()
        writer.write((HEAD + b"Content-Length: 0\r\n\r\n") * 300)
        assert await ended(reader)
        assert len(port.bodies) == 1


async def test_the_answer_says_that_the_connection_ends(listen: Listen) -> None:
    async with listen() as port:
        reader, writer = await port.connect()
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in head


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"a: b\r\n" * 100_000,
        b"POST /" + b"x" * 600_000,
        HEAD + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n" + b"x" * 600_000,
    ],
    ids=["headers", "line", "upgrade"],
)
async def test_no_peer_may_send_without_end(listen: Listen, said: bytes) -> None:
    async with listen(Limits(seconds=20)) as port:
        reader, writer = await port.connect()
        writer.write(said)
        assert await ended(reader)
        assert port.bodies in ([], [b""])


async def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked(listen: Listen) -> None:
    packed = zlib.compress(bytes(50_000_000))
    async with listen(Limits()) as port:
        assert b" 200 " in await port.post(body=packed, more=b"Content-Encoding: deflate\r\n")
        assert port.bodies == [packed]


async def test_a_flood_from_one_address_leaves_room_for_others(listen: Listen) -> None:
    limits = Limits(total=8, per_peer=4, burst=1000, seconds=20)
    async with listen(limits) as port:
        held = [await port.connect("127.0.0.2", tls=False) for _ in range(40)]
        assert b" 200 " in await port.post("127.0.0.3")
        await asyncio.gather(*(ended(reader) for reader, _ in held[:-4]))
        assert port.cut["peer-connections"] == 36


async def test_a_flood_from_many_addresses_leaves_room_for_others(listen: Listen) -> None:
    limits = Limits(total=8, per_peer=4, burst=1000, seconds=20)
    async with listen(limits) as port:
        held = [await port.connect(f"127.0.1.{number + 1}", tls=False) for number in range(30)]
        assert b" 200 " in await port.post("127.0.0.3")
        await asyncio.gather(*(ended(reader) for reader, _ in held[:23]))
        assert port.cut["all-connections"] == 23


async def test_a_peer_that_comes_too_often_is_refused_before_it_costs_anything(listen: Listen) -> None:
    async with listen(Limits(per_second=0.001, burst=3)) as port:
        for _ in range(3):
            assert b" 200 " in await port.post()
        with pytest.raises(ConnectionResetError):
            await port.post()
        assert port.cut == {"peer-rate": 1}
        assert b" 200 " in await port.post("127.0.0.3")


async def test_who_has_gone_is_not_worked_for(listen: Listen) -> None:
    async with listen(replace(FAST, seconds=20), wait=0.3) as port:
        _, writer = await port.connect()
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.transport.abort()
        assert b" 200 " in await port.post()
        assert len(port.bodies) == 1


async def test_a_connection_leaves_nothing_behind(listen: Listen) -> None:
    def left() -> int:
        return sum(type(o).__name__ in ("Connection", "_Tls", "RequestHandler") for o in gc.get_objects())

    async with listen(Limits(burst=1000)) as port:
        gc.collect()
        before = left()
        for _ in range(5):
            await port.post()
            _, writer = await port.connect(tls=False)
            writer.transport.abort()
        await until(lambda: left() <= before)
