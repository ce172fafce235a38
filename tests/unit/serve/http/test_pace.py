"""Who is too slow, and who makes room: what has come since the last look counts, and nobody holds all the memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import QUICK, serving
from workloads.serve.http.pace import IDLE_LOOKS, MemoryHolder, Progress, whose_turn


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


def test_bytes_of_long_ago_buy_no_patience() -> None:
    progress = Progress()
    assert not progress.stalled(63 << 20, 0.0, 5.0, 1024)
    assert not progress.stalled(63 << 20, 4.9, 5.0, 1024)
    assert progress.stalled(63 << 20, 5.1, 5.0, 1024)


@given(st.floats(1024, 1e9), st.floats(0.1, 2.0))
def test_whoever_is_fast_enough_is_never_stalled(rate: float, step: float) -> None:
    progress = Progress()
    for look in range(100):
        assert not progress.stalled(int(rate * step * look), step * look, 5.0, 512)


@given(st.floats(0, 500), st.floats(0.1, 2.0))
def test_whoever_trickles_is_cut_off_within_two_patiences(rate: float, step: float) -> None:
    progress, moved, now = Progress(), 10_000_000.0, 0.0
    while not progress.stalled(int(moved), now, 5.0, 1024):
        moved, now = moved + rate * step, now + step
        assert now < 5.0 + 2 * step


HOLDERS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 100), st.integers(0, 5), st.booleans()), min_size=1, max_size=12
)


@given(HOLDERS, st.integers(0, 11))
def test_who_makes_room(facts, place: int) -> None:
    holders = [MemoryHolder(number, *fact) for number, fact in enumerate(facts)]
    asking = holders[place % len(holders)]
    loser = whose_turn(holders, asking)
    totals = {peer: sum(h.bytes for h in holders if h.peer == peer) for peer in "abc"}
    if loser is None:
        others = [h for h in holders if h.loose and h is not asking]
        assert all(totals[h.peer] <= totals[asking.peer] for h in others)
        assert not any(h.peer == asking.peer and h.idle >= IDLE_LOOKS for h in others)
        return
    assert loser.loose
    assert loser is not asking
    assert totals[loser.peer] > totals[asking.peer] or (loser.peer == asking.peer and loser.idle >= IDLE_LOOKS)


async def test_stalled_uploads_do_not_refuse_the_others_for_hours() -> None:
    """Nine of 63 MiB each held the whole memory; here 900 bytes of 1000 each."""
    async with serving(replace(QUICK, head_timeout=60, stall_timeout=60, max_connections=20)) as (server, _, connect):
        stalled = [await connect() for _ in range(3)]
        for client in stalled:
            client.send(HEAD % 1000 + b"x" * 950)
        await until(lambda: server.body_bytes == 2850)
        await until(lambda: all(one.progress.quiet >= IDLE_LOOKS for one in server._connections))
        polite = await connect()
        polite.send(HEAD % 900 + b"x" * 900)
        status, _, body = await polite.reply()
        assert (status, len(body)) == (200, 908)
        evicted = [client for client in stalled if client.reader._buffer]  # type: ignore[attr-defined]
        assert [(await client.reply())[0] for client in evicted] == [429]


async def test_a_stalled_upload_is_cut_off_after_seconds_however_much_it_has_sent() -> None:
    limits = replace(QUICK, max_body_size=2_000_000, max_buffered=6_000_000, slowest=1000.0, head_timeout=60)
    async with serving(limits) as (server, _, connect):
        client = await connect()
        client.send(HEAD % 2_000_000 + b"x" * 1_900_000)
        status, _, body = await client.reply()
        assert (status, b"bytes/s" in body) == (408, True)
        await until(lambda: server.body_bytes == 0)


async def test_one_client_cannot_hold_all_the_memory() -> None:
    """By the address: another one has its place, even while nothing of the first one's has stopped moving."""
    async with serving(replace(QUICK, head_timeout=60, stall_timeout=60, max_connections=20)) as (server, _, connect):
        greedy = [await connect() for _ in range(3)]
        for client in greedy:
            client.send(HEAD % 1000 + b"x" * 950)
        await until(lambda: server.body_bytes == 2850)
        for connection in server._connections:
            connection.progress.quiet = -1000
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0))
        writer.write(HEAD % 900 + b"x" * 900)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_replies_that_nobody_reads_count_and_make_room() -> None:
    limits = replace(
        QUICK, max_buffered=40 << 20, max_body_size=30 << 20, write_timeout=60, stall_timeout=60, slowest=1
    )
    async with serving(limits) as (server, _, connect):
        deaf = await connect()
        deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
        deaf.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: server.body_bytes > 16 << 20)
        await until(lambda: all(one.progress.quiet >= IDLE_LOOKS for one in server._connections))
        polite = await connect()
        polite.send(HEAD % (30 << 20))
        for _ in range(30):
            polite.send(b"x" * (1 << 20))
            await polite.writer.drain()
        assert (await polite.reply())[0] == 200
        await until(lambda: server.connections == 1)


async def test_a_long_reply_may_take_longer_than_the_write_timeout_while_it_is_read() -> None:
    limits = replace(QUICK, slowest=1000.0, write_timeout=0.5)
    async with serving(limits) as (_, _, connect):
        client = await connect()
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 33554432" in head
        for _ in range(16):
            await asyncio.sleep(0.1)
            await client.reader.readexactly(2 << 20)
