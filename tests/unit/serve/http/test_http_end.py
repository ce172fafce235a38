"""The server's end: who is connected is answered, the rest is closed. Real sockets, both event loops."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest
import uvloop

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import POST, QUICK, serving


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


async def test_who_connected_as_the_server_ended_is_answered() -> None:
    async with serving() as (server, _, _):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        ending = asyncio.create_task(server.finish(5))
        client.sendall(POST % (b"/a", 3, b"xyz"))
        assert await ending == 0
        with client:
            assert b"POST /a xyz" in client.recv(1000)


async def test_leaving_answers_what_is_under_way_and_closes_the_rest() -> None:
    async with serving() as (server, echo, connect):
        idle, busy = await connect(), await connect()
        idle.send(POST % (b"/a", 0, b""))
        await idle.reply()
        busy.send(POST % (b"/later", 1, b"x"))
        await until(lambda: echo.pending)
        server.closing = True
        late = await connect()
        late.send(POST % (b"/a", 0, b""))
        assert (await late.reply())[1]["connection"] == "close"
        leaving = asyncio.create_task(server.finish(5))
        await asyncio.sleep(0.05)
        idle.send(POST % (b"/a", 0, b""))  # was on its way when the server decided to end
        assert (await idle.reply())[1]["connection"] == "close"
        assert await idle.end() == b""
        echo.pending[0].future.set_result(None)
        assert (await busy.reply())[0] == 200
        assert await leaving == 0
        with pytest.raises(ConnectionError):
            await connect()


async def test_leaving_waits_for_the_idle_only_as_long_as_a_request_may_be_on_its_way() -> None:
    async with serving(replace(QUICK, idle_timeout=60)) as (server, _, connect):
        idle = await connect()
        idle.send(POST % (b"/a", 0, b""))
        await idle.reply()
        leaving = asyncio.create_task(server.finish(60))
        assert await idle.end() == b"", "it is told, and not cut off when the server's time is over"
        idle.writer.close()
        assert await asyncio.wait_for(leaving, 10) == 0


async def test_leaving_does_not_wait_for_ever() -> None:
    async with serving() as (server, echo, connect):
        client = await connect()
        client.send(POST % (b"/later", 1, b"x"))
        await until(lambda: echo.pending)
        assert await server.finish(0.05) == 1
        await until(lambda: echo.pending[0].abandoned)
