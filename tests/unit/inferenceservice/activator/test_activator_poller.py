"""The operator's ear for services that sleep: real activators on addresses of their own, and the real scraper."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.inferenceservice.activator.activator import ACTIVATOR, CONTROL_PORT
from slipway.inferenceservice.activator.activator_poller import DEAF_SECONDS, LARGEST, LONGEST, MOST, ActivatorPoller
from slipway.inferenceservice.policy.zero import HANDOVER_SECONDS, ActivatorState
from slipway.inferenceservice.state import Observed
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import SERVICES
from slipway.runtime.conditions import format_time
from slipway.runtime.scraping.scrape import Scraper
from tests.unit.activator.crowd import HOST, SETTINGS, free_port, until
from workloads.activator import control
from workloads.activator.run import Activator

KEY = Key("team", "s")
_hosts = itertools.count(1)


@asynccontextmanager
async def activator() -> AsyncIterator[Activator]:
    """On a host of its own, for the operator knows its port."""
    host = f"127.11.{next(_hosts)}.1"
    it = Activator(replace(SETTINGS, host=host, control=CONTROL_PORT, backend=HOST, backend_http=free_port(), drain=0))
    await it.start()
    try:
        yield it
    finally:
        it.control.close()


class Ear:
    """The operator's side. `time`: its clock."""

    def __init__(self, *hosts: str) -> None:
        self.time = datetime.now(UTC)
        self.marks = 0
        self.scraper = Scraper(timeout=LONGEST, concurrency=MOST, share=None, largest=LARGEST)
        self.activator_poller = ActivatorPoller(self.scraper, self._marked, lambda: self.time)
        self.pods = [
            {"metadata": {"name": host, "uid": host}, "status": {"phase": "Running", "podIP": host}} for host in hosts
        ]
        decided = {"desired": 0, "lastScaleTime": format_time(self.time)}
        spec = {
            "predictor": {"model": {"uri": "pvc://m/a"}},
            "autoScaling": {"minReplicas": 0, "maxReplicas": 2, "scaleTarget": 1},
        }
        metadata = {"name": "s", "namespace": "team", "uid": "u"}
        self.service: dict[str, Any] = {"metadata": metadata, "spec": spec, "status": {"autoScaling": decided}}
        self.later(1)

    def _marked(self, key: Key) -> None:
        assert key == KEY
        self.marks += 1

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def ask(self) -> float | None:
        return self.activator_poller.ask(KEY, self.service, self.pods)

    async def heard(self) -> ActivatorState:
        """Ask, and wait for one more answer."""
        before = self.marks
        self.ask()
        await until(lambda: self.marks > before, 25)
        return self.activator_state()

    def activator_state(self) -> ActivatorState:
        leads = {"metadata": {"name": "s"}, "spec": {"selector": {ACTIVATOR: "u"}}}
        ready = {"metadata": {"name": "s-activator"}, "status": {"readyReplicas": 1}}
        observed = Observed([], [], {SERVICES: {"s": leads}}, None, activator=ready)
        return self.activator_poller.beside(self.service, observed, self.pods).activator_state


async def first_words(it: Activator) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(it.settings.host, it.http.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    return writer


async def test_it_hears_that_nobody_has_come_and_then_of_the_first_client_at_once() -> None:
    async with activator() as it:
        ear = Ear(str(it.settings.host))
        assert not ear.activator_state().quiet, "it has asked nobody yet"
        quiet = await ear.heard()
        assert (quiet.quiet, quiet.wanted, quiet.in_place, quiet.ready) == (True, False, True, True)
        ear.later(2)
        waiting = asyncio.create_task(ear.heard())
        done, _ = await asyncio.wait((waiting,), timeout=0.3)
        assert not done, "it is answered when somebody comes"
        began = time.monotonic()
        client = await first_words(it)
        assert (await waiting).wanted
        assert time.monotonic() - began < 10, "it was answered when its time was over"
        ear.later(2)
        assert (await ear.heard()).held == 1
        client.close()
        await ear.scraper.close()


async def test_the_one_that_nobody_comes_to_delays_no_answer_of_the_other() -> None:
    async with activator() as one, activator() as other:
        ear = Ear(str(one.settings.host), str(other.settings.host))
        ear.ask()
        await until(lambda: ear.marks == 2)
        ear.later(2)
        waiting = asyncio.create_task(ear.heard())
        await asyncio.sleep(0)
        client = await first_words(other)
        assert (await asyncio.wait_for(waiting, 10)).wanted
        client.close()
        await ear.scraper.close()


async def test_it_asks_no_pod_twice_within_a_second_and_wakes_for_the_handover() -> None:
    async with activator() as it:
        ear = Ear(str(it.settings.host))
        assert ear.ask() is not None
        left = ear.ask()
        assert left is not None
        assert 0 < left <= 1
        ear.later(0.5)
        left = ear.ask()
        assert left is not None
        assert left <= min(0.5, HANDOVER_SECONDS)
        await until(lambda: ear.marks == 1)
        await ear.scraper.close()


async def test_who_cannot_be_asked_is_given_a_minute_and_then_is_deaf() -> None:
    ear = Ear("127.11.255.1")
    found = await ear.heard()
    assert (found.quiet, found.deaf) == (False, False)
    ear.later(DEAF_SECONDS + 1)
    assert ear.activator_state().deaf
    ear.pods = []
    ear.ask()
    assert not ear.activator_state().deaf, "it is gone"
    await ear.scraper.close()


async def test_a_service_that_has_pods_is_not_asked_about() -> None:
    ear = Ear("127.11.255.1")
    ear.service["status"]["autoScaling"]["desired"] = 1
    assert ear.ask() is None
    assert ear.marks == 0
    await ear.scraper.close()


def test_the_operator_waits_longer_than_an_activator_lets_it() -> None:
    assert LONGEST > control.LONGEST
