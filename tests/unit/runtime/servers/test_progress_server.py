"""The progress endpoint over real HTTP: every code it answers with, and what reaches the job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from slipway.runtime.client.errors import Unavailable
from slipway.runtime.client.resource import Resource
from slipway.runtime.servers.progress import Report
from slipway.runtime.servers.progress_server import MAX_BODY, Owner, ProgressServer, ProgressSink, Rate
from slipway.runtime.servers.server import listening
from slipway.runtime.servers.token_review import PodIdentity

JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", "TrainingJob")
PATH = JOBS.path("ns", "digits", "status")
GOOD = {"trainerStatus": {"progressPercentage": 7, "lastUpdatedTime": "2026-01-01T00:00:00Z"}}


class Tokens:
    """Stands for TokenReviewer, whose own tests are next door."""

    async def identify(self, token: str) -> PodIdentity | None:
        if token == "away":
            raise Unavailable(503, "Unavailable", "no etcd")
        if token == "bug":
            raise RuntimeError("a bug")
        namespace, _, uid = token.partition("/")
        return PodIdentity(namespace, "pod", uid) if uid else None


@dataclass
class Endpoint:
    url: str = ""
    leading: bool = True
    accepted: list[tuple[str, str, str, Report]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def find_owner(self, namespace: str, name: str, pod: PodIdentity) -> Owner | None:
        return Owner("job-uid", pod.uid == "u1") if (namespace, name) == ("ns", "digits") else None

    async def post(
        self, body: Any = GOOD, *, token: str | None = "ns/u1", path: str = PATH, method: str = "POST", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) or hasattr(body, "__anext__") else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, data=data, headers=headers) as response,
        ):
            return response.status, await response.json(), dict(response.headers)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    state = Endpoint()
    server = ProgressServer(
        [ProgressSink(JOBS, state.find_owner, lambda *report: state.accepted.append(report))],
        Tokens(),  # type: ignore[arg-type]
        leading=lambda: state.leading,
        observe=state.codes.append,
    )
    # The real bursts, but no refill while a slow machine runs the test.
    server._by_peer, server._by_job = Rate(0.01, 100), Rate(0.01, 10)
    async with listening(server.app(), 0, host="127.0.0.1") as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state


async def test_a_good_post_reaches_the_job_and_is_echoed(endpoint: Endpoint) -> None:
    code, body, _ = await endpoint.post()
    assert (code, body) == (200, GOOD)
    assert endpoint.accepted == [("ns", "digits", "job-uid", Report(7, None, {}, "2026-01-01T00:00:00Z"))]
    assert endpoint.codes == [200]


async def test_a_post_that_says_nothing_is_fine_and_reaches_nobody(endpoint: Endpoint) -> None:
    assert (await endpoint.post({}))[:2] == (200, {})
    assert endpoint.accepted == []


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"token": None}, 401, "Unauthorized"),
        ({"token": None, "Authorization": "Basic dTpw"}, 401, "Unauthorized"),
        ({"token": None, "Authorization": "Bearer"}, 401, "Unauthorized"),
        ({"token": "forged"}, 401, "Unauthorized"),
        ({"token": "ns/u2"}, 403, "Forbidden"),
        ({"token": "other/u1"}, 403, "Forbidden"),
        ({"path": JOBS.path("ns", "other", "status")}, 404, "NotFound"),
        ({"path": "/"}, 404, "NotFound"),
        ({"path": JOBS.path("ns", "digits")}, 404, "NotFound"),
        ({"method": "PUT"}, 404, "NotFound"),
        ({"method": "DELETE"}, 404, "NotFound"),
        ({"body": b" " * (MAX_BODY + 1)}, 413, "RequestEntityTooLarge"),
        ({"body": {"trainerStatus": {"progressPercentage": 101}}}, 422, "Invalid"),
        ({"body": b"\x00"}, 422, "Invalid"),
        ({"token": "away"}, 503, "ServiceUnavailable"),
        ({"token": "bug"}, 500, "InternalError"),
    ],
)
async def test_refusals_are_a_kubernetes_status(
    endpoint: Endpoint, change: dict[str, Any], code: int, reason: str
) -> None:
    answer, body, _ = await endpoint.post(**change)
    assert (answer, body["code"], body["reason"], body["status"]) == (code, code, reason, "Failure")
    assert body["message"]
    assert endpoint.accepted == []
    assert endpoint.codes == [code]


async def test_a_body_of_unknown_length_is_cut_off_too(endpoint: Endpoint) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    code, body, _ = await endpoint.post(endless())
    assert (code, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_body_that_does_not_come(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.runtime.servers.progress_server.BODY_SECONDS", 0.05)
    host, port = endpoint.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"POST {PATH} HTTP/1.1", "Host: x", "Authorization: Bearer ns/u1", "Content-Length: 9", "", "")
    writer.write("\r\n".join(lines).encode())
    line = await asyncio.wait_for(reader.readline(), 5)
    assert line.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_too_many_posts_for_one_job(endpoint: Endpoint) -> None:
    answers = [await endpoint.post() for _ in range(11)]
    assert [code for code, _, _ in answers] == [200] * 10 + [429]
    assert 90 <= int(answers[-1][2]["Retry-After"]) <= 100
    assert len(endpoint.accepted) == 10


async def test_forged_tokens_are_limited_by_their_sender(endpoint: Endpoint) -> None:
    codes = [(await endpoint.post(token="forged"))[0] for _ in range(101)]
    assert codes == [401] * 100 + [429]


async def test_a_replica_that_does_not_lead_sends_pods_elsewhere(endpoint: Endpoint) -> None:
    endpoint.leading = False
    code, _, headers = await endpoint.post()
    assert (code, headers["Retry-After"]) == (503, "2")
    assert endpoint.accepted == []
