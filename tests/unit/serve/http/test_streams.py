"""Streams: replies written while they are worked out, for clients that read them, leave, half-close, or are old."""

from __future__ import annotations

import asyncio
import http.client
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvloop

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import QUICK
from workloads.serve.http import HttpServer, Reply, Request, Stream
from workloads.serve.http.stream import MOST

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


class Streams:
    """Answers /stream by a stream that the test writes, and anything else at once."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.gone: list[int] = []
        self.ended: list[int] = []

    def __call__(self, request: Request) -> Reply:
        if request.path != b"/stream":
            return Reply(200, (b"plain",))
        number = len(self.streams)
        stream = Stream(lambda: self.gone.append(number))
        stream.ended = lambda: self.ended.append(number)
        self.streams.append(stream)
        return stream


@asynccontextmanager
async def streaming(limits=QUICK):
    app = Streams()
    server = HttpServer(app, limits)
    await server.start("127.0.0.1", 0)
    try:
        yield app, server
    finally:
        await server.finish(0)


async def read(reader: asyncio.StreamReader, until_: bytes) -> bytes:
    return await asyncio.wait_for(reader.readuntil(until_), 5)


async def test_pieces_come_one_by_one_and_the_connection_goes_on_afterwards() -> None:
    async with streaming() as (app, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET % b"/stream" + GET % b"/plain")  # the second waits for the first
        head = await read(reader, b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"Content-Length" not in head
        app.streams[0].write(b"first")
        assert await read(reader, b"first\r\n") == b"5\r\nfirst\r\n"
        app.streams[0].write(b"second")
        assert await read(reader, b"second\r\n") == b"6\r\nsecond\r\n"
        app.streams[0].end()
        assert await read(reader, b"0\r\n\r\n") == b"0\r\n\r\n"
        assert b"plain" in await read(reader, b"plain")
        assert app.ended == [0]
        assert app.gone == []
        writer.close()


async def test_an_old_client_reads_until_the_end_of_the_connection() -> None:
    async with streaming() as (app, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /stream HTTP/1.0\r\n\r\n")
        head = await read(reader, b"\r\n\r\n")
        assert b"chunked" not in head
        app.streams[0].write(b"all")
        app.streams[0].write(b"of it")
        app.streams[0].end()
        assert await asyncio.wait_for(reader.read(), 5) == b"allof it"
        writer.close()


async def test_a_client_that_leaves_is_told_to_whoever_writes() -> None:
    async with streaming() as (app, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET % b"/stream")
        await until(lambda: app.streams)
        writer.transport.abort()
        await until(lambda: app.gone == [0])
        app.streams[0].write(b"into nothing")
        app.streams[0].end()
        assert app.ended == [0]


async def test_one_that_closes_its_end_is_given_up_when_nothing_comes() -> None:
    async with streaming() as (app, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET % b"/stream")
        writer.write_eof()
        await until(lambda: app.gone == [0])


async def test_a_stream_that_waited_for_its_turn_is_abandoned_with_its_connection() -> None:
    async with streaming() as (app, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET % b"/stream" + GET % b"/stream")
        await until(lambda: len(app.streams) == 2)
        writer.transport.abort()
        await until(lambda: sorted(app.gone) == [0, 1])


async def test_a_client_that_does_not_read_is_cut_off_and_holds_bounded_memory() -> None:
    async with streaming(replace(QUICK, write_timeout=60)) as (app, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(GET % b"/stream")
        await until(lambda: app.streams)
        piece, written = b"x" * 65536, 0
        while not app.gone and written < 64 << 20:
            app.streams[0].write(piece)
            written += len(piece)
            await asyncio.sleep(0)
        assert app.gone == [0]
        assert written < MOST + (32 << 20), "what the socket itself takes is the kernel's"
        await until(lambda: server.body_bytes == 0)
        writer.transport.abort()


async def test_leaving_lets_a_stream_end() -> None:
    async with streaming() as (app, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        await asyncio.to_thread(connection.request, "GET", "/stream")
        await until(lambda: app.streams)
        leaving = asyncio.create_task(server.finish(60))
        app.streams[0].write(b"last ")
        await asyncio.sleep(0.05)
        app.streams[0].write(b"words")
        app.streams[0].end()
        reply = await asyncio.to_thread(connection.getresponse)
        assert await asyncio.to_thread(reply.read) == b"last words"
        assert await leaving == 0
