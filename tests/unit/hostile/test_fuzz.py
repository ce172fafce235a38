"""The doors through which pods speak to the operator, against a grammar: nobody's nonsense is anybody else's trouble.

Some seconds in every run; SLIPWAY_FUZZ_SECONDS=3600 for a night. A failure names the seed of its round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from slipway.inferenceservice.policy.traffic import Traffic, read_metrics
from slipway.inferenceservice.telemetry.served_model import read_model
from slipway.runtime.client.resource import Resource
from slipway.runtime.rate import Rate
from slipway.runtime.scraping.scrape import Scraper, ScrapeResult
from slipway.runtime.servers.progress import MAX_METRICS, Report
from slipway.runtime.servers.progress_server import Owner, ProgressServer, ProgressSink
from slipway.runtime.servers.server import listening
from slipway.runtime.servers.token_review import PodIdentity
from tests.unit.hostile.attackers import attacker
from tests.unit.hostile.cost import LIMIT, longest_turn
from tests.unit.hostile.grammar import Grammar

SECONDS = float(os.environ.get("SLIPWAY_FUZZ_SECONDS", "3"))
MESSAGES = 150
THREADS = 4
JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", "TrainingJob")
PATH = JOBS.path("ns", "digits", "status")
GOOD = b'{"trainerStatus":{"progressPercentage":7,"lastUpdatedTime":"2026-01-01T00:00:00Z"}}'
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ns/u1\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()
# What a server may say to a client that is wrong, to one that is right, and to one that is too much.
ANSWERS = {100, 200, 400, 401, 403, 404, 405, 408, 411, 413, 414, 417, 422, 426, 429, 431, 501, 503, 505}


class Tokens:
    """Whoever says ns/u1 is the pod that owns the job."""

    async def identify(self, token: str) -> PodIdentity | None:
        namespace, _, uid = token.partition("/")
        return PodIdentity(namespace, "pod", uid) if uid else None


@asynccontextmanager
async def endpoint() -> AsyncIterator[tuple[int, list[Report], list[str]]]:
    """Its port, what reached the job, and what broke in the loop."""
    accepted: list[Report] = []
    broken: list[str] = []
    server = ProgressServer(
        [
            ProgressSink(
                JOBS,
                lambda namespace, name, pod: Owner("u", pod.uid == "u1") if name == "digits" else None,
                lambda namespace, name, uid, report: accepted.append(report),
            )
        ],
        Tokens(),  # type: ignore[arg-type]
    )
    server._by_peer = server._by_job = Rate(1e6, 1e6)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(str(context)))
    async with listening(server.app(), 0, host="127.0.0.1") as port:
        yield port, accepted, broken


def say(port: int, message: bytes, peer: str, *, rudely: bool = False, patience: float = 15) -> bytes:
    """Send it, and return what was answered within so many seconds; `rudely`: gone before the answer."""
    answer = b""
    with socket.socket() as client:
        client.settimeout(15)
        client.bind((peer, 0))
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(message)
            if rudely:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            client.settimeout(patience)
            while piece := client.recv(65536):
                answer += piece
        except (ConnectionError, TimeoutError):
            # It has closed the door on us before we had said all, or waits for the rest.
            return answer
    return answer


def peers(number: int) -> str:
    """Each thread is a pod of its own."""
    return f"127.0.1.{number + 1}"


async def rounds(once: Callable[[int], Any]) -> int:
    """Rounds of one seed each until the time is up; one that held the loop is done again, since a clock may slip."""
    began, seed = time.monotonic(), int(os.environ.get("SLIPWAY_FUZZ_SEED", "1"))
    while time.monotonic() - began < SECONDS:
        turns: list[float] = []
        for _ in range(8):
            turns.append(await longest_turn(once(seed)))
            if turns[-1] < LIMIT:
                break
        assert min(turns) < LIMIT, f"seed {seed} held the loop for {min(turns) * 1e3:.0f} ms"
        seed += 1
    return seed


async def test_the_status_endpoint_answers_every_nonsense_in_words_and_goes_on() -> None:
    async with endpoint() as (port, accepted, broken):

        def pod(number: int, seed: int) -> None:
            grammar = Grammar(seed * THREADS + number, PATH)
            for _ in range(MESSAGES // THREADS):
                message, rudely = grammar.request(), grammar.dice.random() < 0.1
                answer = say(port, message, peers(number), rudely=rudely, patience=0.1)
                if answer:
                    code = re.match(rb"HTTP/\d\.\d (\d{3}) ", answer)
                    assert code is not None, (seed, answer[:80])
                    assert int(code[1]) in ANSWERS, (seed, answer[:200], message[:300])

        async def once(seed: int) -> None:
            await asyncio.gather(*(asyncio.to_thread(pod, number, seed) for number in range(THREADS)))
            good = await asyncio.to_thread(say, port, HEAD + GOOD, "127.0.2.1")
            assert good.startswith(b"HTTP/1.1 200"), (seed, good[:300])

        await rounds(once)
    assert not broken
    assert len(accepted) > 1, "the grammar also says what is right"
    for report in accepted:
        assert report.percent is None or 0 <= report.percent <= 100
        assert len(report.metrics) <= MAX_METRICS


class Sayings:
    """Something else for everybody who asks."""

    def __init__(self, seed: int) -> None:
        self._grammar = Grammar(seed)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        with self._lock:
            message = self._grammar.answer()
            pieces = self._grammar.dice.choice([1, 1, 1, 20])
        step = max(1, len(message) // pieces)
        return iter([message[at : at + step] for at in range(0, len(message), step)])


async def test_a_scraper_makes_figures_or_words_of_whatever_a_pod_answers() -> None:
    broken: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(str(context)))
    seen: list[ScrapeResult[Traffic]] = []

    async def once(seed: int) -> None:
        scraper = Scraper(timeout=10, share=16)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(pages: Any) -> None:
            seen.extend(pages.values())
            answered.set_result(None)

        with attacker(Sayings(seed)) as url:
            urls = {str(number): f"{url}/metrics" for number in range(MESSAGES)}
            assert scraper.ask(seed, "team", urls, read_metrics, hear)
            await answered
        await scraper.close()

    await rounds(once)
    assert not broken
    assert any(page.said is not None for page in seen), "the grammar also says what is right"
    for page in seen:
        assert (page.said is None) == bool(page.error)
        assert len(page.error) <= 256
        if page.said is not None:
            assert 0 <= page.said.inside <= 2**40


def test_a_description_of_a_model_is_a_status_or_a_value_error() -> None:
    grammar = Grammar(1)
    until = time.monotonic() + SECONDS / 8
    while time.monotonic() < until:
        said = grammar.document(6)
        with contextlib.suppress(ValueError):
            read_model("r", json.dumps(said).encode())
