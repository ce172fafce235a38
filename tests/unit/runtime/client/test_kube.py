"""The client over real HTTP: what it sends, what it retries, what it never retries, and what it refuses to write."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slipway.runtime.client import errors as e
from slipway.runtime.client.kube import CONFIGMAPS, LEASES, NODES, PODS, Kube, KubeConfig, Resource
from tests.unit.runtime.client.fake_server import FakeServer, cut, failure, fake_server, ok, raw, slow
from tests.unit.runtime.waiting import until

JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", "TrainingJob")
POD = {"metadata": {"namespace": "ns", "name": "p"}}


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


@pytest.fixture
async def kube(server: FakeServer) -> AsyncIterator[Kube]:
    async with Kube(server.config, timeout=5) as client:
        yield client


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.runtime.client.transport.FIRST_PAUSE", 0.002)


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns") == "/api/v1/namespaces/ns/pods"
    assert JOBS.path("ns", "j", "status") == "/apis/slipway.dev/v1alpha1/namespaces/ns/trainingjobs/j/status"
    assert NODES.path(None, "n1") == "/api/v1/nodes/n1"
    assert PODS.path("ns", "../../secrets") == "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets"
    assert (PODS.api_version, LEASES.api_version) == ("v1", "coordination.k8s.io/v1")
    with pytest.raises(ValueError, match="namespace"):
        PODS.path(None, "p")


async def test_what_each_verb_sends(server: FakeServer, kube: Kube) -> None:
    await kube.get(PODS, "ns", "p")
    await kube.create(PODS, POD)
    await kube.delete(PODS, "ns", "p", grace_seconds=0, uid="u1")
    await kube.patch(PODS, "ns", "p", {"metadata": {"labels": {"a": None}}})
    await kube.patch_status(JOBS, "ns", "j", {"restartCount": 1}, resource_version="7")
    await kube.replace(LEASES, POD)
    await kube.apply(CONFIGMAPS, POD | {"data": {"a": "b"}})
    seen = [(s.method, s.path, s.query, s.headers.get("Content-Type"), s.body) for s in server.seen]
    ours = {"fieldManager": "slipway"}
    pod, lease = "/api/v1/namespaces/ns/pods", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/p"
    job = "/apis/slipway.dev/v1alpha1/namespaces/ns/trainingjobs/j/status"
    delete = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u1"},
    }
    merge = "application/merge-patch+json"
    assert seen == [
        ("GET", f"{pod}/p", {}, None, None),
        ("POST", pod, ours, "application/json", POD),
        ("DELETE", f"{pod}/p", {}, "application/json", delete),
        ("PATCH", f"{pod}/p", ours, merge, {"metadata": {"labels": {"a": None}}}),
        ("PATCH", job, ours, merge, {"status": {"restartCount": 1}, "metadata": {"resourceVersion": "7"}}),
        ("PUT", lease, ours, "application/json", POD),
        (
            "PATCH",
            "/api/v1/namespaces/ns/configmaps/p",
            ours | {"force": "true"},
            "application/apply-patch+yaml",
            {"apiVersion": "v1", "kind": "ConfigMap", **POD, "data": {"a": "b"}},
        ),
    ]
    assert server.seen[0].headers["User-Agent"] == "slipway-operator"


async def test_a_list_is_paged_from_one_snapshot(server: FakeServer, kube: Kube) -> None:
    server.answers += [
        ok({"metadata": {"resourceVersion": "9", "continue": "abc"}, "items": [{"metadata": {"name": "a"}}]}),
        ok({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    listing = await kube.list(PODS, "ns", selector="a=b,c", rv0=True)
    assert listing.resource_version == "9"
    assert [(i["metadata"]["name"], i["kind"], i["apiVersion"]) for i in listing.items] == [
        ("a", "Pod", "v1"),
        ("b", "Pod", "v1"),
    ]
    assert [s.query for s in server.seen] == [
        {"labelSelector": "a=b,c", "resourceVersion": "0", "limit": "20"},
        {"labelSelector": "a=b,c", "limit": "20", "continue": "abc"},
    ]


async def test_a_list_whose_snapshot_expires_starts_over_without_pages(server: FakeServer, kube: Kube) -> None:
    server.answers += [
        ok({"metadata": {"resourceVersion": "9", "continue": "abc"}, "items": [{"metadata": {"name": "a"}}]}),
        failure(410, "Expired"),
        ok({"metadata": {"resourceVersion": "20"}, "items": [{"metadata": {"name": "c"}}]}),
    ]
    listing = await kube.list(PODS, None)
    assert [i["metadata"]["name"] for i in listing.items] == ["c"]
    assert server.seen[-1].query == {}


@pytest.mark.parametrize("first", [failure(503), failure(500), failure(429, retry_after="0"), raw("<html>"), cut()])
async def test_a_read_is_tried_again(server: FakeServer, kube: Kube, first: object) -> None:
    server.answers += [first, ok(POD)]  # type: ignore[list-item]
    assert await kube.get(PODS, "ns", "p") == POD


@pytest.mark.parametrize("first", [failure(503), failure(500), raw("<html>"), cut()])
async def test_a_create_that_may_have_happened_is_not_sent_again(server: FakeServer, kube: Kube, first: object) -> None:
    server.answers.append(first)  # type: ignore[arg-type]
    with pytest.raises(e.Unavailable):
        await kube.create(PODS, POD)
    assert len(server.seen) == 1


async def test_a_shed_write_is_sent_again_after_the_wait_it_was_told(server: FakeServer, kube: Kube) -> None:
    server.answers += [failure(429, "TooManyRequests", "1"), ok(POD)]
    started = time.monotonic()
    await kube.create(PODS, POD)
    assert time.monotonic() - started > 0.95


async def test_shedding_is_endured_a_few_times_only(server: FakeServer, kube: Kube) -> None:
    server.answers += [failure(429, "TooManyRequests")] * 10
    with pytest.raises(e.TooManyRequests):
        await kube.get(PODS, "ns", "p")
    assert len(server.seen) == 4


async def test_a_long_retry_after_is_the_callers_business(server: FakeServer, kube: Kube) -> None:
    server.answers.append(failure(429, "TooManyRequests", "60"))
    with pytest.raises(e.TooManyRequests) as caught:
        await kube.get(PODS, "ns", "p")
    assert caught.value.retry_after == 60
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", e.NotFound),
        (409, "Conflict", e.Conflict),
        (409, "AlreadyExists", e.AlreadyExists),
        (422, "Invalid", e.Invalid),
        (403, "Forbidden", e.Forbidden),
        (401, "Unauthorized", e.Unauthorized),
    ],
)
async def test_answers_that_no_retry_can_change(
    server: FakeServer, kube: Kube, code: int, reason: str, kind: type[e.ApiError]
) -> None:
    server.answers.append(failure(code, reason))
    with pytest.raises(kind):
        await kube.get(PODS, "ns", "p")
    assert len(server.seen) == 1


async def test_a_silent_server_costs_no_more_than_the_timeout(server: FakeServer) -> None:
    server.answers.append(slow(30))
    async with Kube(server.config, timeout=0.05) as kube:
        started = time.monotonic()
        with pytest.raises(e.Unavailable) as caught:
            await kube.create(PODS, POD)
    assert caught.value.reason == "Timeout"
    assert time.monotonic() - started < 25, "it waited for the answer"


async def test_nobody_listens() -> None:
    async with Kube(KubeConfig(server="http://127.0.0.1:1")) as kube:
        with pytest.raises(e.Unavailable) as caught:
            await kube.get(PODS, "ns", "p")
    assert (caught.value.status, caught.value.reason) == (0, "NetworkError")


async def test_no_more_requests_at_once_than_allowed(server: FakeServer) -> None:
    server.answers += [slow(0.02)] * 20
    async with Kube(server.config, concurrency=3) as kube:
        await asyncio.gather(*(kube.get(PODS, "ns", f"p{n}") for n in range(20)))
    assert server.most_active == 3


async def test_a_request_that_waits_for_its_next_try_holds_no_slot(server: FakeServer) -> None:
    server.answers.append(failure(429, "TooManyRequests", "1"))
    async with Kube(server.config, concurrency=1) as kube:
        shed = asyncio.create_task(kube.get(PODS, "ns", "p"))
        await until(lambda: len(server.seen) == 1)
        await kube.get(PODS, "ns", "q")
        assert not shed.done(), "it came in between"
        await shed


async def test_without_the_lease_nothing_is_written_and_everything_read(server: FakeServer) -> None:
    left = 0.0
    async with Kube(server.config, gate=lambda: left) as kube:
        for write in (
            kube.create(PODS, POD),
            kube.delete(PODS, "ns", "p"),
            kube.patch(PODS, "ns", "p", {}),
            kube.patch_status(JOBS, "ns", "j", {}),
            kube.apply(CONFIGMAPS, POD),
            kube.replace(LEASES, POD),
        ):
            with pytest.raises(e.NotLeading):
                await write
        assert server.seen == []
        await kube.get(PODS, "ns", "p")
        await kube.token_review("t")
        left = 5.0
        await kube.create(PODS, POD)
    assert [s.method for s in server.seen] == ["GET", "POST", "POST"]


async def test_a_write_under_way_ends_with_the_lease(server: FakeServer) -> None:
    server.answers.append(slow(30))
    async with Kube(server.config, gate=lambda: 0.05) as kube:
        started = time.monotonic()
        with pytest.raises(e.Unavailable):
            await kube.create(PODS, POD)
    assert time.monotonic() - started < 25, "it waited for the answer"


async def test_every_try_is_counted(server: FakeServer) -> None:
    counts = Counter[tuple[str, str]]()
    server.answers += [failure(503), ok(POD), failure(409, "AlreadyExists"), cut()]

    def observe(verb: str, code: str, seconds: float) -> None:
        counts[verb, code] += 1

    async with Kube(server.config, observe_request=observe, user_agent_suffix="(test)") as kube:
        await kube.get(PODS, "ns", "p")
        with pytest.raises(e.AlreadyExists):
            await kube.create(PODS, POD)
        with pytest.raises(e.Unavailable):
            await kube.create(PODS, POD)
    assert counts == {("get", "503"): 1, ("get", "200"): 1, ("create", "409"): 1, ("create", "NetworkError"): 1}
    assert server.seen[0].headers["User-Agent"] == "slipway-operator (test)"


async def test_a_rotated_token_is_read_again(server: FakeServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    async with Kube(KubeConfig(server=server.url, token_file=token)) as kube:
        await kube.get(PODS, "ns", "p")
        token.write_text("new\n")
        await kube.get(PODS, "ns", "p")
        server.answers.append(failure(401, "Unauthorized"))
        await kube.create(PODS, POD)
    assert [s.headers["Authorization"] for s in server.seen] == ["Bearer old", "Bearer old", "Bearer old", "Bearer new"]


async def test_token_review_and_discovery(server: FakeServer, kube: Kube) -> None:
    server.answers += [
        ok({"status": {"authenticated": True, "user": {"username": "u"}}}),
        ok({"resources": [{"name": "trainingjobs"}, {"name": "trainingjobs/status"}]}),
        ok({"resources": []}),
        failure(404, "NotFound"),
    ]  # fmt: skip
    assert (await kube.token_review("t", ("aud",)))["authenticated"] is True
    assert server.seen[0].body["spec"] == {"token": "t", "audiences": ["aud"]}
    assert [await kube.serves(JOBS) for _ in range(3)] == [True, False, False]


async def test_an_object_without_a_namespace_is_not_sent_anywhere(server: FakeServer, kube: Kube) -> None:
    with pytest.raises(ValueError, match="names no namespace"):
        await kube.create(PODS, {"metadata": {"name": "p"}})
    assert server.seen == []
