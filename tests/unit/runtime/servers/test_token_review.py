"""Which pod does a token speak for? API servers of several ages answer, each played by a script."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from slipway.runtime.client.errors import Unavailable
from slipway.runtime.client.kube import Kube
from slipway.runtime.servers.token_review import BAD_SECONDS, GOOD_SECONDS, PodIdentity, TokenReviewer
from tests.unit.runtime.client.fake_server import FakeServer, failure, fake_server, ok

AUDIENCE = "slipway.dev/status"
POD = PodIdentity("ns", "p", "u1")


def review(
    username: str = "system:serviceaccount:ns:default",
    audiences: list[str] | None = None,
    pod: tuple[str, str] | None = ("p", "u1"),
    **more: Any,
) -> dict[str, Any]:
    extra = {} if pod is None else {
        "authentication.kubernetes.io/pod-name": [pod[0]],
        "authentication.kubernetes.io/pod-uid": [pod[1]],
    }  # fmt: skip
    user = {"username": username, "extra": extra}
    return {
        "status": {"authenticated": True, "user": user, "audiences": [AUDIENCE] if audiences is None else audiences}
        | more
    }


def jwt(claims: dict[str, Any]) -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2ln"


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


@pytest.fixture
async def kube(server: FakeServer) -> AsyncIterator[Kube]:
    async with Kube(server.config) as client:
        yield client


@pytest.mark.parametrize(
    ("answer", "token", "identity"),
    [
        (review(), "t", POD),
        (review(pod=None), jwt({"kubernetes.io": {"namespace": "ns", "pod": {"name": "p", "uid": "u1"}}}), POD),
        (review(pod=None), jwt({"kubernetes.io": {"namespace": "ns"}}), None),
        (review(pod=None), jwt({"kubernetes.io": "odd"}), None),
        (review(pod=None), "opaque", None),
        (review(pod=None), "a.!!!.c", None),
        (review(audiences=["https://kubernetes.default.svc"]), "t", None),
        (review(audiences=[]), "t", None),
        (review(username="system:admin"), "t", None),
        (review(authenticated=False), "t", None),
        (review(authenticated="true"), "t", None),
        ({"status": {"error": "expired"}}, "t", None),
        ({}, "t", None),
    ],
)
async def test_identity(server: FakeServer, kube: Kube, answer: object, token: str, identity: object) -> None:
    server.answers.append(ok(answer))
    assert await TokenReviewer(kube, AUDIENCE).identify(token) == identity
    assert server.seen[0].body["spec"] == {"token": token, "audiences": [AUDIENCE]}


async def test_answers_are_remembered_for_a_short_while(server: FakeServer, kube: Kube) -> None:
    now = [0.0]
    reviewer = TokenReviewer(kube, AUDIENCE, clock=lambda: now[0])
    server.answers += [ok(review()), ok({}), ok(review()), ok(review())]
    assert await reviewer.identify("good") == await reviewer.identify("good") == POD
    assert await reviewer.identify("bad") is None
    assert await reviewer.identify("bad") is None
    assert len(server.seen) == 2
    now[0] = BAD_SECONDS
    assert await reviewer.identify("bad") == POD
    now[0] = GOOD_SECONDS
    assert await reviewer.identify("good") == POD
    assert len(server.seen) == 4


async def test_an_api_server_that_is_away_is_no_verdict(server: FakeServer, kube: Kube) -> None:
    server.answers += [failure(500), ok(review())]
    reviewer = TokenReviewer(kube, AUDIENCE)
    with pytest.raises(Unavailable):
        await reviewer.identify("t")
    assert await reviewer.identify("t") == POD


async def test_absurd_tokens_are_not_even_asked_about(server: FakeServer, kube: Kube) -> None:
    reviewer = TokenReviewer(kube, AUDIENCE)
    assert [await reviewer.identify(token) for token in ("", "x" * 10_000, "tökén")] == [None, None, None]
    assert server.seen == []
