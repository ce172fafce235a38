"""Real sockets: who comes while nobody serves is held and then served; nobody who has gone or never spoke counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial

import pytest

from tests.unit.activator.crowd import ASKED, HOST, activator, ask, page, replica, together, until
from workloads.activator.proxy import KEPT, Limits
from workloads.activator.wire_protocol import PREFACE, SETTINGS


async def test_two_hundred_first_requests_are_all_answered() -> None:
    async with activator() as it:
        asked = asyncio.create_task(together(200, partial(ask, it.http.port)))
        await until(lambda: it.tracker.held == 200)
        async with replica(it.settings.backend_http) as heard:
            assert await asked == [ASKED.upper()] * 200
        assert len(heard) == 200
        assert (it.tracker.held, it.tracker.forwarded, it.tracker.expired) == (0, 200, 0)


async def test_a_body_larger_than_what_is_kept_arrives_as_it_was_sent() -> None:
    body = bytes(range(256)) * 4096  # 1 MiB, and no letter of it changes its length when turned to capitals
    async with activator() as it:
        asked = asyncio.create_task(ask(it.grpc.port, body))
        await until(lambda: it.tracker.held == 1)
        async with replica(it.settings.backend_grpc):
            assert await asked == body.upper()
    assert len(body) > 8 * KEPT


async def test_a_connection_goes_on_after_its_first_request() -> None:
    async with activator() as it, replica(it.settings.backend_http):
        reader, writer = await asyncio.open_connection(HOST, it.http.port)
        for words in (b"one", b"two", b"three"):
            writer.write(words)
            assert await reader.readexactly(len(words)) == words.upper()
        writer.close()
        await until(lambda: it.tracker.open == 0)
        assert it.tracker.forwarded == 1


async def test_clients_that_vanish_are_not_waited_for() -> None:
    async with activator() as it:
        for cut in (True, False):
            _, writer = await asyncio.open_connection(HOST, it.http.port)
            writer.write(ASKED)
            await until(lambda: it.tracker.held == 1)
            writer.transport.abort() if cut else writer.close()
            await until(lambda: it.tracker.held == 0)
        assert (it.tracker.vanished, it.tracker.open) == (2, 0)
        # Who stays is served all the same.
        staying = asyncio.create_task(ask(it.http.port))
        await until(lambda: it.tracker.held == 1)
        async with replica(it.settings.backend_http):
            assert await staying == ASKED.upper()


async def test_waiting_in_vain_ends_in_503_with_retry_after_and_in_a_closed_connection_for_grpc() -> None:
    async with activator(Limits(hold=0.2)) as it:
        answer = await ask(it.http.port, ASKED * 20)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5" in head
        assert b"\r\nConnection: close" in head
        assert "no replica" in json.loads(body)["error"]
        assert await ask(it.grpc.port, PREFACE) == SETTINGS
        assert it.tracker.expired == 2


async def test_more_than_may_wait_is_429_at_once_and_those_who_wait_are_served() -> None:
    async with activator(Limits(hold=20, held=2)) as it:
        waiting = asyncio.create_task(together(2, partial(ask, it.http.port)))
        await until(lambda: it.tracker.held == 2)
        answer = await ask(it.http.port, ASKED * 20)
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 5" in answer
        async with replica(it.settings.backend_http):
            assert await waiting == [ASKED.upper()] * 2
        assert it.tracker.refused == 1


async def test_an_open_port_that_is_only_probed_wakes_nobody() -> None:
    async with activator() as it:
        reader, writer = await asyncio.open_connection(HOST, it.http.port)
        writer.close()
        assert await reader.read() == b""
        status, text = await page(it.control.port, "/metrics")
        assert status == 200
        assert "slipway_activator_held 0\n" in text
        assert "idle_seconds" not in text


async def test_demand_is_told_at_once_and_to_everybody_who_asks() -> None:
    async with activator() as it:
        asking = [asyncio.create_task(page(it.control.port, "/demand")) for _ in range(2)]
        done, _ = await asyncio.wait(asking, timeout=0.2)
        assert not done, "nobody has come yet"
        client = asyncio.create_task(ask(it.http.port))
        for answer in await asyncio.wait_for(asyncio.gather(*asking), 15):
            assert answer[0] == 200
            assert "slipway_activator_idle_seconds" in answer[1]
        await until(lambda: it.tracker.held == 1)
        _, text = await page(it.control.port, "/demand")
        assert "slipway_activator_held 1\n" in text
        assert "slipway_activator_idle_seconds 0.0\n" in text
        client.cancel()


async def test_leaving_it_is_not_ready_first_and_still_takes_and_serves() -> None:
    async with activator(lead=0.5, drain=10) as it:
        assert (await page(it.control.port, "/ready"))[0] == 200
        early = asyncio.create_task(ask(it.http.port))
        await until(lambda: it.tracker.held == 1)
        leaving = asyncio.create_task(it.drain())
        await until(lambda: not it.control.ready)
        assert (await page(it.control.port, "/ready"))[0] == 503
        late = asyncio.create_task(ask(it.http.port))
        await until(lambda: it.tracker.held == 2)
        async with replica(it.settings.backend_http):
            assert await early == await late == ASKED.upper()
            await leaving


async def test_leaving_it_cuts_off_who_does_not_end_and_nobody_who_waits() -> None:
    async with activator(Limits(hold=1), drain=0.1) as it:
        held = asyncio.create_task(ask(it.http.port, ASKED * 20))
        await until(lambda: it.tracker.held == 1)
        await it.drain()
        assert (await held).startswith(b"HTTP/1.1 503 "), "it has waited for as long as anybody"
    async with activator(drain=0.1) as it, replica(it.settings.backend_http):
        reader, writer = await asyncio.open_connection(HOST, it.http.port)
        writer.write(b"word")
        assert await reader.readexactly(4) == b"WORD"
        await it.drain()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_the_control_port_says_what_it_knows(path: str) -> None:
    async with activator() as it:
        assert (await page(it.control.port, path))[0] == 404
        # What is no HTTP at all is not answered, and the next one is.
        reader, writer = await asyncio.open_connection(HOST, it.control.port)
        writer.write(b"x" * 10000 + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert (await page(it.control.port, "/ready"))[0] == 200
