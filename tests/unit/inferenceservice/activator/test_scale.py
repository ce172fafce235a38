"""Autoscaling: within bounds, up at once, down only after a while, calm when nothing changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.serving.autoscaling import AutoScaling, ScaleMetric
from slipway.inferenceservice.autoscale import load_of
from slipway.inferenceservice.policy.scale import Load, Recommendation, settle, wanted
from slipway.inferenceservice.policy.surge import percent_of, split
from slipway.inferenceservice.policy.traffic import Answers, Traffic, Window
from tests.unit.inferenceservice.looks import deployed, look

SCALING = AutoScaling(min_replicas=1, max_replicas=10, scale_target=4, scale_down_stabilization_seconds=60)
loads = st.builds(
    Load, st.lists(st.floats(0, 1000, allow_nan=False), max_size=10).map(tuple), st.integers(min_value=0, max_value=5)
)


@given(st.integers(1, 10), loads)
def test_it_stays_within_its_bounds(current, load):
    assert 1 <= wanted(SCALING, current, load) <= 10


@given(st.integers(1, 10), loads)
def test_a_steady_load_leads_to_a_steady_size(current, load):
    """Load moves to new pods; the sum is what counts, and asking again and again ends."""
    total, replicas = sum(load.pods), current
    for _ in range(20):
        before, replicas = replicas, wanted(SCALING, replicas, Load((total / replicas,) * replicas))
    assert replicas == before
    assert replicas == 10 or total <= replicas * 4 * 1.1 + 1e-6


@given(st.integers(1, 10), loads)
def test_who_cannot_be_asked_never_makes_it_shrink_below_or_grow(current, load):
    silent = Load((), load.unknown)
    assert wanted(SCALING, current, silent) == current
    if load.pods:
        assert wanted(SCALING, current, Load(load.pods, load.unknown + 10)) >= wanted(SCALING, current, load)


def test_up_at_once_and_down_when_it_would_have_been_enough_for_the_whole_window():
    replicas, history = settle(SCALING, 2, 6, (), 0)
    assert replicas == 6
    for now in range(5, 60, 5):
        replicas, history = settle(SCALING, replicas, 3 if now != 30 else 4, history, now)
        assert replicas == 6, now
    replicas, history = settle(SCALING, replicas, 3, history, 61)
    assert replicas == 4, "at 30 s four were asked for"
    replicas, _ = settle(SCALING, replicas, 3, history, 95)
    assert replicas == 3


def test_a_new_operator_does_not_scale_down_before_it_has_seen_a_whole_window():
    replicas, history = settle(SCALING, 8, 1, (), 1000)
    assert replicas == 8
    replicas, history = settle(SCALING, replicas, 1, history, 1059)
    assert replicas == 8
    assert settle(SCALING, replicas, 1, history, 1061)[0] == 1


@given(st.integers(1, 1000), st.integers(1, 99))
def test_a_share_takes_nothing_from_what_serves_up_to_half_and_never_needs_more_than_twice_the_pods(replicas, percent):
    stable, canary = split(replicas, percent)
    assert stable >= 1
    assert canary >= 1
    assert max(stable, canary) == replicas
    if percent <= 50:
        assert stable == replicas
    if replicas >= 100:
        assert abs(percent_of(canary, stable) - percent) <= 1


def test_history_forgets_what_is_too_old():
    _, history = settle(SCALING, 2, 2, [Recommendation(at, 9) for at in range(1000)], 2000)
    assert history == (Recommendation(2000, 2),)


def ready(uid: str) -> dict[str, Any]:
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": uid, "uid": uid, "labels": {"slipway.dev/revision": "r"}}, "status": status}


def growth(busy: float, queued: float) -> Window:
    """What one pod told of the last ten seconds."""
    return Window("w", 0, pace={"p": (Traffic(answered=9, busy=busy, queued=queued), 10.0)})


def test_concurrency_counts_all_requests_and_queue_depth_those_that_wait():
    pods = [ready("p"), ready("silent")]
    assert load_of(SCALING, pods, growth(80, 20)) == Load([8.0], unknown=1, inside=9)
    waiting = SCALING.model_copy(update={"scale_metric": ScaleMetric.QUEUE_DEPTH})
    assert load_of(waiting, pods, growth(80, 20)) == Load([2.0], unknown=1, inside=9)


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        (ScaleMetric.TOKENS_IN_FLIGHT, 900.0),
        (ScaleMetric.KV_CACHE_USAGE, 75.0),
        (ScaleMetric.QUEUE_DEPTH, 3.0),
        (ScaleMetric.CONCURRENCY, 11.0),
    ],
)
def test_answers_that_go_on_for_minutes_count_before_they_end(metric, figure):
    """Seconds in server and queue are added up when an answer ends: a full server of streams looked idle."""
    busy = Window("w", 0, pace={"p": (Traffic(now=Answers(running=8, waiting=3, tokens=900, cache=0.75)), 10.0)})
    assert load_of(SCALING.model_copy(update={"scale_metric": metric}), [ready("p")], busy).pods == [figure]


def test_a_new_size_is_written_before_a_pod_is_made():
    """An operator that dies in between must not decide again, from the load that its own pods have changed."""
    scaling = {"maxReplicas": 10, "scaleTarget": 4}
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    spec = {"predictor": {"model": {"uri": "pvc://m/a"}}, "autoScaling": scaling}
    first = look({"metadata": metadata, "spec": spec})
    decision = look(
        {"metadata": metadata, "spec": spec, "status": first.status},
        [deployed(first, ready=1)],
        [ready("p")],
        window=growth(80, 0),
    )
    assert decision.status is not None
    assert decision.status["autoScaling"]["desired"] == 2
    assert [patch.body for patch in decision.patches] == [{"spec": {"replicas": 2}}]
    assert decision.persist_first
