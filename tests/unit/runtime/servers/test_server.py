"""Probes and metrics over real HTTP."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.runtime.metrics import Metrics, count_conditions, fullest, total
from slipway.runtime.queue import WorkQueue
from slipway.runtime.servers.server import Health, health_app, listening
from tests.unit.runtime.waiting import until


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_probes_follow_the_state() -> None:
    health = Health(time.monotonic)
    async with listening(health_app(health, lambda: b""), 0, host="127.0.0.1") as port:
        for state, code in [("starting", 503), ("standby", 200), ("leading", 200), ("stopping", 503)]:
            health.state = state
            assert await get(port, "/readyz") == (code, state)
            assert await get(port, "/healthz") == (200, "ok")
        assert (await get(port, "/secrets"))[0] == 404


async def test_a_leader_that_hears_nothing_is_sick_and_a_standby_is_not() -> None:
    health = Health(lambda: time.monotonic() - 1000, silence_limit=900)
    async with listening(health_app(health, lambda: b""), 0, host="127.0.0.1") as port:
        health.state = "standby"
        assert (await get(port, "/healthz"))[0] == 200
        health.state = "leading"
        code, text = await get(port, "/healthz")
    assert code == 500
    assert "1000 s" in text


async def test_a_late_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.runtime.servers.server.TICK", 0.01)
    lags: list[float] = []
    health = Health(time.monotonic, observe_lag=lags.append)
    ticking = asyncio.create_task(health.tick())
    await until(lambda: lags)
    time.sleep(0.2)  # noqa: ASYNC251  (this is what is to be noticed)
    await until(lambda: max(lags) > 0.15)
    assert health.complaints() == []
    ticking.cancel()
    monkeypatch.setattr("slipway.runtime.servers.server.MAX_LOOP_LAG", 0.02)
    await asyncio.sleep(0.05)
    assert "late" in health.complaints()[0]


SCRAPED = {
    'slipway_reconcile_duration_seconds_count{kind="trainingjob",result="success"} 1.0',
    'slipway_api_requests_total{code="201",verb="create"} 1.0',
    'slipway_api_requests_total{code="409",verb="create"} 1.0',
    'slipway_api_request_duration_seconds_count{verb="create"} 2.0',
    'slipway_workqueue_depth{kind="trainingjob"} 1.0',
    'slipway_workqueue_delayed{kind="trainingjob"} 1.0',
    'slipway_workqueue_adds_total{kind="trainingjob"} 2.0',
    'slipway_workqueue_retries_total{kind="trainingjob"} 1.0',
    'slipway_workqueue_wait_seconds_count{kind="trainingjob"} 1.0',
    'slipway_events_dropped_total{reason="overflow"} 1.0',
    'slipway_progress_posts_total{code="429"} 1.0',
    "slipway_event_loop_lag_seconds 0.25",
    "slipway_is_leader 1.0",
    'slipway_jobs{condition="total",kind="TrainingJob"} 3.0',
    'slipway_jobs{condition="Succeeded",kind="TrainingJob"} 1.0',
    'slipway_jobs{condition="Ready",kind="TrainingJob"} 1.0',
    'slipway_jobs{condition="Stalled",kind="TrainingJob"} 0.0',
    'slipway_namespace_jobs{condition="total",kind="TrainingJob",namespace="team-a"} 2.0',
    'slipway_namespace_jobs{condition="total",kind="TrainingJob",namespace="team-b"} 1.0',
}
A = {"metadata": {"namespace": "team-a"}}


async def test_everything_that_is_measured_is_scraped() -> None:
    metrics = Metrics()
    queue: WorkQueue[str] = WorkQueue(observe_wait=metrics.wait_observer("trainingjob"))
    metrics.watch_queue("trainingjob", queue)
    leading = False
    metrics.watch_leading(lambda: leading)
    jobs = [
        {**A, "status": {"conditions": [{"type": "Succeeded", "status": "True"}, {"type": "Ready", "status": "True"}]}},
        {**A, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        {"metadata": {"namespace": "team-b"}},
    ]
    metrics.watch_jobs("TrainingJob", lambda: count_conditions(jobs))
    metrics.observe_reconcile("trainingjob", "success", 0.02)
    metrics.observe_request("create", "201", 0.003)
    metrics.observe_request("create", "409", 0.003)
    metrics.count_dropped_event("overflow")
    metrics.count_progress(429)
    metrics.observe_loop_lag(0.25)
    queue.mark("a")
    queue.mark("b")
    queue.take()
    queue.backoff("c")
    leading = True
    async with listening(health_app(Health(time.monotonic), metrics.render), 0, host="127.0.0.1") as port:
        code, text = await get(port, "/metrics")
    lines = set(text.splitlines())
    assert code == 200
    assert lines >= SCRAPED
    ours = [line for line in lines if not line.startswith(("#", "slipway_", "process_"))]
    assert ours == []


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 9), max_size=30), st.integers(1, 9))
def test_a_scrape_has_a_bounded_number_of_namespaces_and_loses_no_job(sizes: dict[str, int], most: int) -> None:
    counts = {namespace: {"total": size, "Failed": size // 2} for namespace, size in sizes.items()}
    found = fullest(counts, most)
    assert len(found) <= most + 1
    for condition in ("total", "Failed"):
        assert total(found.values())[condition] == sum(each[condition] for each in counts.values())
    kept = [counts[namespace]["total"] for namespace in found if namespace in counts]
    rest = [counts[namespace]["total"] for namespace in counts if namespace not in found]
    assert not rest or min(kept) >= max(rest)
