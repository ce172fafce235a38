"""Pods that lie or keep the operator waiting are asked ever less, and the service's condition names them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from slipway.inferenceservice.policy.traffic import Traffic
from slipway.inferenceservice.telemetry import traffic_history
from slipway.inferenceservice.telemetry.metrics_poller import MetricsPoller
from slipway.inferenceservice.telemetry.traffic_history import GIVEN_UP, SELDOM_SECONDS, TrafficHistory
from slipway.runtime import conditions
from slipway.runtime.caching.store import Key
from slipway.runtime.scraping.scrape import Scraper, ScrapeResult
from tests.unit.activator.crowd import until
from tests.unit.hostile.attackers import HEAD, attacker, for_ever
from tests.unit.inferenceservice.looks import NOW, look

SCALED = {
    "predictor": {"model": {"uri": "pvc://m/a"}},
    "autoScaling": {"minReplicas": 1, "maxReplicas": 9, "scaleTarget": 4},
}


def pod(name: str, address: str = "127.0.0.1") -> dict[str, Any]:
    ready = [{"type": "Ready", "status": "True"}]
    metadata = {"name": name, "uid": f"uid-{name}", "labels": {}}
    return {"metadata": metadata, "status": {"podIP": address, "conditions": ready}}


def service(**status: Any) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": "team", "uid": "u", "generation": 1}
    return {"metadata": metadata, "spec": SCALED, "status": status}


def test_a_pod_that_tells_no_figures_is_asked_ever_less_and_again_as_before_once_it_tells_some() -> None:
    memory, pods, now, asked = TrafficHistory(), [pod("bad"), pod("good")], NOW, []
    for _ in range(600):
        due = traffic_history.metrics_urls(memory, pods, now)
        asked.append("uid-bad" in due)
        assert "uid-good" in due, "nobody else suffers for it"
        answers = {uid: ScrapeResult(error="x") if uid == "uid-bad" else ScrapeResult(said=Traffic()) for uid in due}
        traffic_history.heard_metrics(memory, "w", pods, answers, now)
        now += timedelta(seconds=5)
    assert 600 * 5 / SELDOM_SECONDS <= sum(asked) <= 600 * 5 / SELDOM_SECONDS + 7
    assert asked[:4] == [True, True, False, True]
    now += timedelta(seconds=SELDOM_SECONDS)
    traffic_history.heard_metrics(memory, "w", pods, {"uid-bad": ScrapeResult(said=Traffic())}, now)
    assert "uid-bad" in traffic_history.metrics_urls(memory, pods, now)
    assert not memory.unread


def test_what_a_pod_told_before_it_fell_silent_does_not_count_as_its_load() -> None:
    memory, pods = TrafficHistory(), [pod("p")]
    for seconds in (0, 5):
        at = NOW + timedelta(seconds=seconds)
        traffic_history.heard_metrics(memory, "w", pods, {"uid-p": ScrapeResult(said=Traffic(busy=seconds))}, at)
    assert memory.window is not None
    assert "uid-p" in memory.window.pace
    traffic_history.heard_metrics(memory, "w", pods, {"uid-p": ScrapeResult(error="x")}, NOW + timedelta(seconds=10))
    assert not memory.window.pace
    assert traffic_history.metrics_urls(memory, [], NOW) == {}
    assert not memory.silent, "it is gone"


def test_the_condition_says_which_pod_and_what_to_change_until_it_tells_its_figures() -> None:
    memory, pods = TrafficHistory(), [pod("digits-x"), pod("digits-y"), pod("digits-z")]
    before: dict[str, Any] = {}
    for times in range(1, GIVEN_UP + 1):
        lie: ScrapeResult[Traffic] = ScrapeResult(error="more than 262144 bytes")
        said = dict.fromkeys(("uid-digits-x", "uid-digits-y"), lie)
        traffic_history.heard_metrics(memory, "w", pods, said, NOW)
        decision = look(service(**before), unread=memory.unread, given_up=memory.given_up)
        assert decision.status is not None
        before = dict(decision.status)
        told = conditions.get(before["conditions"], "MetricsReady")
        assert (told is None) == (times < GIVEN_UP), "once is no trouble"
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "MetricsUnreadable")
    assert told["message"].startswith(
        "metrics of pod digits-x cannot be read: more than 262144 bytes; nor those of 1 other pod. The server in its"
    )
    assert "correct the image" in told["message"]
    traffic_history.heard_metrics(memory, "w", pods, dict.fromkeys(said, ScrapeResult(said=Traffic())), NOW)
    decision = look(service(**before), given_up=memory.given_up)
    assert decision.status is not None
    assert conditions.get(decision.status["conditions"], "MetricsReady") is None


def test_where_nobody_asks_for_figures_nothing_is_said_of_them() -> None:
    obj = service()
    obj["spec"] = {"predictor": SCALED["predictor"]}
    decision = look(obj, given_up="metrics of pod x cannot be read")
    assert decision.status is not None
    assert conditions.get(decision.status["conditions"], "MetricsReady") is None


async def test_a_liar_does_not_keep_the_other_pods_figures_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All pods of a service were one question, answered when the last of them was."""
    marked = asyncio.Event()
    key, obj, pods = Key("team", "s"), service(), [pod("bad"), pod("good")]
    scraper = Scraper(timeout=30)
    poller = MetricsPoller(scraper, lambda _: marked.set(), lambda _: obj, lambda: NOW)
    with attacker(for_ever(b""), pause=1) as bad, attacker(HEAD + b"slipway_request_seconds_sum 7\n") as good:
        where = {"uid-bad": f"{bad}/metrics", "uid-good": f"{good}/metrics"}
        monkeypatch.setattr(traffic_history, "metrics_urls", lambda *_: where)
        memory = poller.of(obj)
        poller.ask(key, obj, pods)
        await until(lambda: memory.window is not None, 20)
        assert memory.window is not None
        assert set(memory.window.pods) == {"uid-good"}
        assert not marked.is_set(), "one look for all of a round"
        await scraper.close()
