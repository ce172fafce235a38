"""What clients that others wrote send, and what is refused in words: one test for each kind. Both event loops."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest
import uvloop

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import QUICK, serving
from tests.unit.serve.http.test_http_pipelines import OFFER


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"


def offering(rest: bytes, method: bytes = b"POST", version: bytes = b"1.1") -> bytes:
    return method + b" /a HTTP/" + version + b"\r\n" + OFFER + rest


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (offering(b"Content-Length: 3\r\n\r\nabc"), b"POST /a abc"),
        (offering(b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), b"POST /a abc"),
        (offering(b"\r\n", b"GET"), b"GET /a "),
        (offering(b"Content-Length: 0\r\n\r\n"), b"POST /a "),
        (offering(b"Content-Length: 3\r\n\r\nabc", b"PUT"), b"PUT /a abc"),
        (POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc", b"POST /a abc"),
        (POST + b"Upgrade: TLS/1.0, h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc", b"POST /a abc"),
    ],
    ids=["length", "chunks", "no body", "empty body", "another method", "websocket", "order of headers"],
)
@pytest.mark.parametrize("cut", [1, 7, 10_000])
async def test_an_offer_of_another_protocol_is_ignored_and_the_request_answered(sent, answer, cut) -> None:
    async with serving(replace(QUICK, head_timeout=30, stall_timeout=30)) as (_, _, connect):
        client = await connect()
        stream = sent + GET
        for place in range(0, len(stream), cut):
            client.send(stream[place : place + cut])
            await asyncio.sleep(0)
        status, headers, body = await client.reply()
        assert (status, body, "upgrade" in headers) == (200, answer, False)
        assert (await client.reply())[2] == b"GET /b "


async def test_an_offer_with_a_body_that_waits_for_leave() -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(offering(b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"))
        assert (await client.reply())[0] == 100
        client.send(b"abc")
        assert (await client.reply())[2] == b"POST /a abc"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_offer_from_a_client_that_closes(version) -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(offering(b"Content-Length: 3\r\nConnection: close\r\n\r\nabc", version=version))
        status, headers, body = await client.reply()
        assert (status, headers["connection"], body) == (200, "close", b"POST /a abc")
        assert await client.end() == b""


async def test_a_limit_holds_behind_an_offer_as_well() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(offering(b"Content-Length: 3000\r\n\r\n"))
        assert (await client.reply())[0] == 413
        assert echo.requests == []


async def test_http_1_0_is_kept_alive_where_it_asks_for_it() -> None:
    """`ab -k` waits for ever otherwise: HTTP/1.0 closes unless both say that it does not."""
    async with serving() as (_, _, connect):
        client = await connect()
        for _ in range(3):
            client.send(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            status, headers, _ = await client.reply()
            assert (status, headers["connection"]) == (200, "keep-alive")
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert "connection" not in (await client.reply())[1]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://other:80/a?b", b"/a"),
        (b"HTTPS://other/a/b", b"/a/b"),
        (b"http://other", b"/"),
        (b"http://other?x=1", b"/"),
        (b"/http://other/a", b"/http://other/a"),
    ],
)
async def test_a_target_may_be_a_whole_address_as_proxies_are_sent(target, path) -> None:
    async with serving() as (_, _, connect):
        client = await connect()
        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply())[2] == b"GET " + path + b" "


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host is given twice"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host is given twice"),
        (
            POST + b"Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n",
            400,
            "content-type is given twice",
        ),
        (POST + b"Inference-Header-Content-Length: 1\r\n" * 2 + b"\r\n", 400, "given twice"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Content-Encoding"),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "Content-Encoding"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "65536"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 30_000 + b"\r\n\r\n", 431, "65536"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x:\r\n" * 14_000 + b"\r\n", 431, "65536"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "proxy"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "gRPC"),
        (b"GET /\r\n\r\n", 400, "HTTP/1.1"),
        (POST + b"X: a\r\n folded\r\n\r\n", 400, "HTTP/1.1"),
    ],
    ids=[
        *("no host", "two hosts", "one host twice", "two types", "two header lengths", "gzip, chunked", "two codings"),
        *("chunks in 1.0", "url", "url and headers", "empty headers", "CONNECT", "HTTP/2", "HTTP/0.9", "folded"),
    ],
)
async def test_what_is_not_clear_is_refused_in_words(sent: bytes, status: int, words: str) -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(sent)
        got, headers, body = await client.reply()
        assert (got, headers["connection"]) == (status, "close")
        assert words in body.decode()
        assert echo.requests == []


async def test_headers_that_may_come_twice_are_one_list() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(POST + b"Accept: a/b\r\nAccept: c/d\r\nContent-Length: 0\r\n\r\n")
        await client.reply()
        assert echo.requests[0].headers[b"accept"] == b"a/b, c/d"


async def test_what_follows_the_chunks_changes_nothing() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(
            POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Encoding: gzip\r\nHost: b\r\n\r\n"
        )
        assert (await client.reply())[2] == b"POST /a abc"
        assert b"content-encoding" not in echo.requests[0].headers


async def test_extensions_of_chunks_are_bounded_and_many_small_chunks_are_not() -> None:
    async with serving(
        replace(QUICK, max_body_size=20_000, max_buffered=60_000, head_timeout=30, stall_timeout=30)
    ) as (
        _,
        _,
        connect,
    ):
        client = await connect()
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(15_000):
            client.send(b"1;name=value\r\na\r\n")
        client.send(b"0\r\n\r\n")
        assert (await client.reply())[2] == b"POST /a " + b"a" * 15_000
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            client.send(b"1;" + b"x" * 1000 + b"\r\na\r\n")
            await client.writer.drain()
            await asyncio.sleep(0)
        status, _, body = await client.reply()
        assert (status, b"extensions" in body) == (400, True)


async def test_a_client_that_has_closed_its_end_is_answered() -> None:
    async with serving(replace(QUICK, half_closed=30)) as (server, echo, connect):
        for path in (b"/now", b"/later"):
            client = await connect()
            client.send(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            client.writer.write_eof()
            if path == b"/later":
                await until(lambda: echo.pending)
                echo.pending[0].future.set_result(None)
            status, _, body = await client.reply()
            assert (status, body[-1:]) == (200, b"x")
            assert await client.end() == b""
        await until(lambda: server.connections == 0)


async def test_a_client_that_has_closed_its_end_is_not_waited_for_without_end() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        client.writer.write_eof()
        status, _, body = await client.reply()
        assert (status, b"closed its end" in body) == (408, True)
        assert echo.pending[0].abandoned


async def test_a_body_that_ends_early_is_refused_in_words() -> None:
    async with serving() as (_, echo, connect):
        client = await connect()
        client.send(POST + b"Content-Length: 10\r\n\r\nabc")
        client.writer.write_eof()
        status, _, body = await client.reply()
        assert (status, b"before the request was whole" in body) == (400, True)
        assert echo.requests == []


async def test_a_connection_asks_whether_its_client_is_still_there() -> None:
    async with serving() as (server, _, connect):
        await connect()
        await until(lambda: server.connections == 1)
        (connection,) = server._connections
        taken = connection._transport.get_extra_info("socket")
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
