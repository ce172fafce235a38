"""Who reads metrics? What the reviewer asks, remembers and refuses to ask; the real reviews: tests/api/rbac."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from slipway.runtime.client.errors import ApiError
from slipway.runtime.client.kube import Kube
from slipway.runtime.servers.metrics_server import (
    BAD_SECONDS,
    BURST,
    GOOD_SECONDS,
    MAX_TOKEN,
    MOST_WAITING,
    REMEMBERED,
    REVIEWS_AT_ONCE,
    AccessReviewer,
    BusyError,
    metrics_app,
)
from slipway.runtime.servers.server import listening
from tests.unit.runtime.client.fake_server import Answer, FakeServer, failure, fake_server, ok

USER = {"username": "system:serviceaccount:monitoring:prometheus", "groups": ["system:authenticated"], "uid": "u"}
KNOWN = ok({"status": {"authenticated": True, "user": USER}})
UNKNOWN = ok({"status": {"authenticated": False, "error": "no such token"}})
ALLOWED, DENIED = ok({"status": {"allowed": True}}), ok({"status": {"allowed": False}})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


@pytest.fixture
async def kube(server: FakeServer) -> AsyncIterator[Kube]:
    async with Kube(server.config) as client:
        yield client


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((KNOWN, ALLOWED), 200),
        ((KNOWN, DENIED), 403),
        ((KNOWN, ok({})), 403),
        ((UNKNOWN,), 401),
        ((ok({}),), 401),
        ((ok({"status": {"authenticated": True}}),), 401),
        ((ok({"status": {"authenticated": "yes", "user": USER}}),), 401),
    ],
)
async def test_the_answer_is_the_api_servers(
    server: FakeServer, kube: Kube, answers: tuple[Answer, ...], expected: int
) -> None:
    server.answers.extend(answers)
    assert await AccessReviewer(kube).judge("t", "peer") == expected
    assert len(server.seen) == len(answers)


async def test_what_is_asked_is_about_that_very_account(server: FakeServer, kube: Kube) -> None:
    server.answers.extend((KNOWN, ALLOWED))
    await AccessReviewer(kube).judge("t", "peer")
    token, access = server.seen
    # Without audiences the API server's own count: a token that a job's pod has for its progress is not one of them.
    assert token.body["spec"] == {"token": "t"}
    assert access.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    about = {"user": USER["username"], "groups": USER["groups"], "uid": "u"}
    assert access.body["spec"] == {**about, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}


@pytest.mark.parametrize("token", ["", "x" * (MAX_TOKEN + 1), "é"])
async def test_what_can_be_no_token_costs_nothing(server: FakeServer, kube: Kube, token: str) -> None:
    assert await AccessReviewer(kube).judge(token, "peer") == 401
    assert server.seen == []


async def test_answers_are_remembered_for_a_while(server: FakeServer, kube: Kube) -> None:
    clock = Clock()
    reviewer = AccessReviewer(kube, clock=clock)
    server.answers.extend((KNOWN, ALLOWED, UNKNOWN))
    for _ in range(3):
        assert await reviewer.judge("good", "peer") == 200
        assert await reviewer.judge("bad", "peer") == 401
    assert len(server.seen) == 3
    clock.now += BAD_SECONDS + 1
    server.answers.append(UNKNOWN)
    assert await reviewer.judge("bad", "peer") == 401
    assert await reviewer.judge("good", "peer") == 200
    assert len(server.seen) == 4
    # A right that is taken away counts after a minute.
    clock.now += GOOD_SECONDS
    server.answers.extend((KNOWN, DENIED))
    assert await reviewer.judge("good", "peer") == 403


async def test_a_flood_of_made_up_tokens_costs_little_and_shuts_nobody_out(server: FakeServer, kube: Kube) -> None:
    clock = Clock()
    reviewer = AccessReviewer(kube, clock=clock)
    server.answers.extend((KNOWN, ALLOWED))
    assert await reviewer.judge("prometheus", "10.0.0.1") == 200
    refused = 0
    for number in range(2000):
        server.answers.append(UNKNOWN)
        try:
            await reviewer.judge(f"made-up-{number}", "10.0.0.1")
        except BusyError:
            refused += 1
            server.answers.pop()
    assert 2000 - refused == BURST - 1
    assert len(server.seen) == 2 + BURST - 1
    # It stands at the same address as the flood, and its next review is due.
    clock.now += GOOD_SECONDS + 1
    for number in range(int(BURST)):
        server.answers.append(UNKNOWN)
        await reviewer.judge(f"again-{number}", "10.0.0.1")
    with pytest.raises(BusyError):
        await reviewer.judge("one-more", "10.0.0.1")
    server.answers.extend((KNOWN, ALLOWED))
    assert await reviewer.judge("prometheus", "10.0.0.1") == 200


async def test_a_flood_from_many_addresses_waits_in_a_short_line_of_its_own(server: FakeServer, kube: Kube) -> None:
    clock = Clock()
    reviewer = AccessReviewer(kube, clock=clock)
    server.answers.extend((KNOWN, ALLOWED))
    assert await reviewer.judge("prometheus", "peer") == 200
    clock.now += GOOD_SECONDS + 1
    gate = asyncio.Event()

    async def slow(request: Any) -> Any:
        await gate.wait()
        return await UNKNOWN(request)

    server.answers.extend([slow] * MOST_WAITING)
    flood = [asyncio.create_task(reviewer.judge(f"t{n}", f"10.0.{n}.1")) for n in range(200)]
    _, pending = await asyncio.wait(flood, timeout=0.5)
    assert len(pending) == MOST_WAITING
    assert len(server.seen) - 2 <= REVIEWS_AT_ONCE
    server.answers.clear()
    server.answers.extend((KNOWN, ALLOWED, *[UNKNOWN] * MOST_WAITING))
    assert await asyncio.wait_for(reviewer.judge("prometheus", "peer"), 5) == 200
    gate.set()
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(answer, BusyError) for answer in answers) == 200 - MOST_WAITING


async def test_what_is_remembered_is_bounded_and_strangers_go_first(server: FakeServer, kube: Kube) -> None:
    reviewer = AccessReviewer(kube)
    server.answers.extend((KNOWN, ALLOWED))
    assert await reviewer.judge("prometheus", "peer") == 200
    for number in range(REMEMBERED + 5):
        reviewer._remember(number.to_bytes(32, "big"), 401)
    assert len(reviewer._answers) == REMEMBERED
    assert await reviewer.judge("prometheus", "peer") == 200
    assert len(server.seen) == 2


async def test_nobody_is_let_in_where_nobody_can_tell(server: FakeServer, kube: Kube) -> None:
    reviewer = AccessReviewer(kube)
    server.answers.append(failure(403, "Forbidden"))
    with pytest.raises(ApiError):
        await reviewer.judge("t", "peer")
    # And nothing is remembered of it.
    server.answers.extend((KNOWN, ALLOWED))
    assert await reviewer.judge("t", "peer") == 200


@pytest.mark.parametrize(
    ("header", "answers", "code", "more"),
    [
        (None, (), 401, {"WWW-Authenticate": "Bearer"}),
        ("Basic YTpi", (), 401, {"WWW-Authenticate": "Bearer"}),
        ("Bearer ", (), 401, {}),
        ("bearer t", (KNOWN, ALLOWED), 200, {}),
        ("Bearer t", (KNOWN, DENIED), 403, {}),
        ("Bearer t", (failure(403, "Forbidden"),), 503, {"Retry-After": "5"}),
    ],
)
async def test_the_endpoint(
    server: FakeServer, kube: Kube, header: str | None, answers: tuple[Answer, ...], code: int, more: dict[str, str]
) -> None:
    server.answers.extend(answers)
    app = metrics_app(lambda: b"slipway_is_leader 1\n", AccessReviewer(kube))
    async with listening(app, 0, host="127.0.0.1") as port, ClientSession() as session:
        headers = {} if header is None else {"Authorization": header}
        async with session.get(f"http://127.0.0.1:{port}/metrics", headers=headers) as answer:
            assert answer.status == code
            assert more.items() <= dict(answer.headers).items()
            assert ("slipway_is_leader" in await answer.text()) == (code == 200)
