"""What a client may do to an HTTP connection: pieces, floods, silence. Real sockets, both event loops."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import uvloop

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import POST, QUICK, serving
from workloads.serve.http.reader import HEAD_BYTES


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


async def test_keep_alive_and_pieces() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        for _ in range(3):
            for byte in POST % (b"/a?b=c", 3, b"xyz"):
                client.send(bytes([byte]))
                await client.writer.drain()
            status, headers, body = await client.reply()
            assert (status, body) == (200, b"POST /a xyz")
            assert "connection" not in headers
            assert headers["date"].endswith("GMT")


async def test_chunks() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(
            b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await client.reply())[2] == b"POST /c abcde"


async def test_continue_is_said_only_when_the_body_is_welcome() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        head = b"POST /c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        client.send(head % 3)
        assert (await client.reply())[0] == 100
        client.send(b"abc")
        assert (await client.reply())[0] == 200
        client.send(head % 3000)
        assert (await client.reply())[0] == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
    ],
    ids=["announced", "chunked"],
)
async def test_too_large_is_413_and_the_client_can_read_it(sent: bytes) -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(sent)
        status, headers, body = await client.reply()
        assert (status, headers["connection"], b'"error"' in body) == (413, "close", True)
        client.send(b"x" * 100_000)  # still sending: a reset now would take the reply from the client
        assert await client.end() == b""
        assert echo.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["no HTTP", "version", "negative", "two lengths", "length and chunks", "chunk size", "header", "TLS"],
)
async def test_what_is_not_http_is_refused_and_nothing_runs(sent: bytes) -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(sent)
        status, headers, body = await client.reply()
        assert (status, headers["content-type"], b'"error"' in body) == (400, "application/json", True)
        assert await client.end() == b""
        assert echo.requests == []


async def test_headers_are_bounded() -> None:
    async with serving() as (_, _, connect):
        for sent in (
            b"GET /" + b"a" * (HEAD_BYTES + 1) + b" HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(HEAD_BYTES // 6)),
            b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"y" * (HEAD_BYTES * 5),
            b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"y" * (HEAD_BYTES + 1) + b"\r\n\r\n",
        ):
            client = await connect()
            client.send(sent)
            assert (await client.reply())[0] == 431


async def test_errors_of_the_application_become_replies() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        seen = []
        for path in (b"/invalid", b"/full", b"/bug", b"/fine"):
            client.send(POST % (path, 0, b""))
            seen.append(await client.reply())
        assert [status for status, _, _ in seen] == [400, 429, 500, 200]
        assert seen[1][1]["retry-after"] == "7"
        assert b"KeyError" not in seen[2][2]


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: a\r\na: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"]
)
async def test_a_slow_request_is_ended_with_408(sent: bytes) -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(sent)
        for _ in range(100):
            if client.reader._buffer:  # type: ignore[attr-defined]
                break
            client.send(b"x")
            await asyncio.sleep(0.01)
        assert (await client.reply())[0] == 408
        assert echo.requests == []


async def test_a_slow_engine_is_not_a_slow_client() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(POST % (b"/later", 1, b"x"))
        await asyncio.sleep(0.5)
        echo.pending[0].future.set_result(None)
        assert (await client.reply())[0] == 200


async def test_a_client_that_leaves_its_end_open_after_the_last_reply_is_cut_off() -> None:
    async with serving() as (server, _, connect):
        client = await connect()
        client.send(b"nonsense\r\n\r\n")
        assert (await client.reply())[0] == 400
        await until(lambda: server.connections == 0)
        assert not client.writer.is_closing()


async def test_an_idle_connection_is_closed() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(POST % (b"/a", 0, b""))
        await client.reply()
        assert await client.end() == b""


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with serving() as (server, _, connect):
        client = await connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(POST % (b"/large", 0, b""))
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)


async def test_a_client_that_leaves_is_noticed_and_its_request_abandoned() -> None:
    async with serving() as (server, echo, connect):
        client = await connect()
        client.send(POST % (b"/later", 5, b"hello"))
        await until(lambda: echo.pending)
        client.writer.close()
        await until(lambda: echo.pending[0].abandoned)
        assert server.body_bytes == 0


async def test_a_full_house_makes_room_by_closing_the_longest_idle() -> None:
    # A busy machine must not take the time after which the idle are closed anyway.
    async with serving(replace(QUICK, idle_timeout=30)) as (server, _, connect):
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(POST % (b"/a", 0, b""))
            await client.reply()
        fifth = await connect()
        fifth.send(POST % (b"/a", 0, b""))
        assert (await fifth.reply())[0] == 200
        assert await clients[0].end() == b""
        assert server.connections <= 4


async def test_a_house_full_of_busy_clients_says_429() -> None:
    async with serving() as (_, echo, connect):
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(POST % (b"/later", 0, b""))
        await until(lambda: len(echo.pending) == 4)
        fifth = await connect()
        status, headers, _ = await fifth.reply()
        assert (status, headers["retry-after"]) == (429, "1")


async def test_the_memory_of_all_bodies_together_is_bounded() -> None:
    async with serving() as (server, echo, connect):
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(POST % (b"/later", 900, b"x" * 900))
        await until(lambda: len(echo.pending) == 3)
        await until(lambda: server.body_bytes == 2700 and any(client.reader._buffer for client in clients))
        statuses = [(await client.reply())[0] for client in clients if client.reader._buffer]  # type: ignore[attr-defined]
        assert statuses == [429]
        for pending in echo.pending:
            pending.future.set_result(None)
        await until(lambda: server.body_bytes == 0)


async def test_head_and_http_1_0() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 60)
        assert b"Content-Length: 7" in head
        status, headers, body = await client.reply()
        assert (status, headers["connection"], body) == (200, "close", b"GET /b ")
        assert await client.end() == b""
