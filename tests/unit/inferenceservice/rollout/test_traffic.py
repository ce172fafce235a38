"""Counters of pods become growth of revisions, whatever pods come, go, start again or say nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.inferenceservice.policy.traffic import (
    Answers,
    Traffic,
    TrafficSample,
    Window,
    advance,
    forget,
    read_metrics,
)
from workloads.serve.errors import Outcome
from workloads.serve.generation.metrics import GenerationMetrics
from workloads.serve.telemetry.metrics import Metrics


def seen(at: float, answered: float, revision: str = "a") -> TrafficSample:
    return TrafficSample(revision, at, Traffic(answered=answered, busy=answered / 10))


def test_the_servers_own_text_is_read():
    metrics = Metrics()
    for seconds in (0.01, 0.02, 20.0):
        metrics.answered(seconds)
        metrics.inferred("infer", "answered")
    metrics.queued(0.005)
    metrics.inferred("grpc", "failed")
    metrics.inferred("predict", "failed")
    for outcome in Outcome:
        metrics.inferred("grpc", outcome)
    found = read_metrics(metrics.text())
    assert (found.answered, found.errors, found.others) == (4, 3, len(Outcome) - 2)
    assert found.busy == 0.01 + 0.02 + 20.0
    assert found.queued == 0.005
    assert sum(found.slow.values()) == 3
    assert found.slow[float("inf")] == 1
    assert found.started > 0


def test_a_language_models_own_text_is_read():
    metrics, said = Metrics(), GenerationMetrics("m")
    metrics.add(said)
    said.gauges |= {
        "vllm:num_requests_running": ("", lambda: 8.0),
        "vllm:num_requests_waiting": ("", lambda: 3.0),
        "vllm:kv_cache_usage_perc": ("", lambda: 0.75),
        "slipway_tokens_in_flight": ("", lambda: 700.0),
        "slipway_tokens_waiting": ("", lambda: 200.0),
    }
    said.first_token.observe(0.03)
    said.mean_token.observe(0.003)
    said.mean_token.observe(0.2)
    found = read_metrics(metrics.text())
    assert found.now == Answers(running=8, waiting=3, tokens=900, cache=0.75)
    assert {bound: count for bound, count in found.first.items() if count} == {0.04: 1}
    assert {bound: count for bound, count in found.each.items() if count} == {0.005: 1, 0.2: 1}
    assert not any(found.since(found).first.values())
    assert found.plus(found).each[0.2] == 2


def test_replies_of_other_paths_are_no_figures_of_the_model():
    """100 x GET /favicon.ico promoted a revision that nobody had seen; probes of a missing path rolled one back."""
    metrics = Metrics()
    for _ in range(100):
        for status in (200, 302, 404, 405, 431, 500, 503):
            metrics.http_replied(status)
        metrics.grpc_replied("NOT_FOUND")
    found = read_metrics(metrics.text())
    assert (found.requests, found.others) == (0, 0)


def test_a_server_of_an_older_release_is_read_by_its_batchers_reasons():
    """An operator that is updated first goes on with the canary that it finds."""
    text = "# TYPE slipway_request_seconds histogram\n"
    text += 'slipway_request_seconds_bucket{le="+Inf"} 7\nslipway_request_seconds_count 7\n'
    text += "# TYPE slipway_rejected counter\n"
    for reason in ("refused", "engine", "deadline", "queue_full", "abandoned", "not_ready"):
        text += f'slipway_rejected_total{{reason="{reason}"}} 1\n'
    text += '# TYPE slipway_replies counter\nslipway_replies_total{protocol="http",code="404"} 50\n'
    found = read_metrics(text.encode())
    assert (found.answered, found.errors, found.others) == (7, 3, 3)


def test_a_restart_is_seen_by_the_process_even_when_more_was_counted_than_before():
    """Five before, eight after it: eight more, not three, and the times of all eight."""
    before = Traffic(answered=5, slow={0.1: 5.0}, started=100.0)
    after = Traffic(answered=8, slow={1.0: 8.0}, started=200.0)
    assert after.since(before) == after


@pytest.mark.parametrize("said", ["NaN", "-1", "+Inf"])
def test_what_is_no_count_is_refused(said):
    """It would end up in the status, and no status could be written any more."""
    with pytest.raises(ValueError, match="not a finite number"):
        read_metrics(f'slipway_rejected_total{{reason="engine"}} {said}\n'.encode())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=20))
def test_no_request_is_lost_over_restarts_of_a_server(steps):
    """Each step answers some more, after a restart if it says so; a restart that answers as much again is not seen."""
    window: Window | None = advance(None, "w", 0, {"p": seen(0, 0)})
    count, total = 0, 0
    for at, (more, restarted) in enumerate(steps, start=1):
        if restarted and more < count:
            count = 0
        count += more
        total += more
        window = advance(window, "w", at, {"p": seen(at, count)})
    assert window is not None
    assert window.revisions["a"].answered == total
    assert window.began == 0


def test_a_new_name_begins_anew_and_what_a_pod_counted_before_does_not_count():
    window = advance(None, "one", 0, {"p": seen(0, 100)})
    window = advance(window, "one", 5, {"p": seen(5, 150), "q": seen(5, 70)})
    assert window.revisions["a"].answered == 50
    assert window.pace["p"][0].answered == 50
    again = advance(window, "two", 10, {"p": seen(10, 180)})
    assert (again.began, dict(again.revisions)) == (10, {})
    assert again.pace["p"][1] == 5
    later = advance(again, "two", 15, {"p": seen(15, 190), "q": seen(15, 90)})
    assert later.revisions["a"].answered == 10, "q may have counted its 20 before"


def test_what_a_pod_counted_stays_when_it_goes():
    window = advance(None, "w", 0, {"p": seen(0, 0)})
    window = forget(advance(window, "w", 5, {"p": seen(5, 40)}), [])
    assert window.revisions["a"].answered == 40
    assert not window.pods
