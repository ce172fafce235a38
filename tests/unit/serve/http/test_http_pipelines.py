"""Requests that a client sends without waiting for replies: order, bounds, the others' turn. Both event loops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import ANY

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.effort import examples
from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import POST, QUICK, serving
from workloads.serve.http.connection import PIPELINED


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), min_size=1, max_size=6), st.lists(st.integers(1, 50)))
def test_any_cut_of_any_pipeline_gives_the_same_replies_in_order(asked, cuts) -> None:
    async def scenario() -> None:
        async with serving(replace(QUICK, head_timeout=30, idle_timeout=30)) as (_, echo, connect):
            client = await connect()
            stream = b"".join(POST % (b"/later" if later else b"/now", len(body), body) for later, body in asked)
            for cut in cuts:
                client.send(stream[:cut])
                await client.writer.drain()
                await asyncio.sleep(0)
                stream = stream[cut:]
            client.send(stream)
            await until(lambda: len(echo.requests) == len(asked))
            for pending in reversed(echo.pending):
                pending.future.set_result(None)
            for later, body in asked:
                status, _, answer = await client.reply()
                assert (status, answer) == (200, body if later else b"POST /now " + body)

    asyncio.run(scenario())


OFFER = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
FORMS = ("none", "length", "chunks", "offer", "offer and length", "offer and chunks")


def in_chunks(body: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    return b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


# What ends a head may be in a body as well.
BODIES = st.lists(st.sampled_from([b"\r\n\r\n", b"\r\n", b"GET / HTTP/1.1", b"a", b"0"]), max_size=8).map(b"".join)


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(FORMS), BODIES), min_size=1, max_size=3 * PIPELINED),
    st.lists(st.integers(1, 400)),
)
def test_more_than_a_turn_holds_is_answered_in_order_whatever_is_in_the_bodies(asked, cuts) -> None:
    forms = {
        "none": lambda _body: (b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /none "),
        "length": lambda body: (POST % (b"/length", len(body), body), b"POST /length " + body),
        "chunks": lambda body: (in_chunks(body), b"POST /chunks " + body),
    }
    plain = dict(forms)
    for form, make in plain.items():
        name = "offer" if form == "none" else f"offer and {form}"
        forms[name] = lambda body, make=make: (make(body)[0].replace(b"Host: a\r\n", OFFER, 1), make(body)[1])
    pairs = [forms[form](body) for form, body in asked]

    async def scenario() -> None:
        async with serving(replace(QUICK, head_timeout=30, idle_timeout=30)) as (_, _, connect):
            client = await connect()
            stream = b"".join(sent for sent, _ in pairs)
            for cut in cuts:
                client.send(stream[:cut])
                await asyncio.sleep(0)
                stream = stream[cut:]
            client.send(stream)
            for _, expected in pairs:
                assert await client.reply() == (200, ANY, expected)

    asyncio.run(scenario())


async def test_a_pipeline_is_bounded() -> None:
    async with serving() as (server, echo, connect):
        client = await connect()
        one = POST % (b"/later", 1, b"x")
        for _ in range(PIPELINED):
            client.send(one)
        await until(lambda: len(echo.requests) == PIPELINED)
        for _ in range(10):
            client.send(one)
            await client.writer.drain()
        await asyncio.sleep(0.05)
        assert len(echo.requests) == PIPELINED
        assert server.body_bytes == PIPELINED
        for pending in echo.pending:
            pending.future.set_result(None)
        await until(lambda: len(echo.requests) == PIPELINED + 10)


async def test_thousands_of_requests_in_one_piece_leave_the_others_their_turn() -> None:
    async with serving() as (_, echo, connect):
        greedy, modest = await connect(), await connect()
        greedy.send(POST % (b"/many", 0, b"") * 3000)
        modest.send(POST % (b"/one", 0, b""))
        assert (await modest.reply())[2] == b"POST /one "
        before = [request.path for request in echo.requests].index(b"/one")
        assert before <= 10 * PIPELINED
        for _ in range(3000):
            assert (await greedy.reply())[2] == b"POST /many "


async def test_who_does_not_read_is_not_answered_on() -> None:
    async with serving() as (server, echo, connect):
        client = await connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(POST % (b"/large", 0, b"") * 300)
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
        assert len(echo.requests) == 1
