"""Counters of pods become growth of revisions, whatever pods come, go, start again or say nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.inferenceservice.policy.traffic import Seen, Traffic, Window, advance, forget, read_metrics
from workloads.serve.metrics import Metrics


def seen(at: float, answered: float, revision: str = "a") -> Seen:
    return Seen(revision, at, Traffic(answered=answered, busy=answered / 10))


def test_the_servers_own_text_is_read():
    metrics = Metrics()
    for seconds in (0.01, 0.02, 20.0):
        metrics.answered(seconds)
        metrics.http_replied(200)
    metrics.queued(0.005)
    metrics.http_replied(500)
    metrics.http_replied(400)
    metrics.http_replied(503)
    metrics.grpc_replied("OK")
    metrics.grpc_replied("INTERNAL")
    found = read_metrics(metrics.text().decode())
    assert (found.answered, found.errors) == (3, 3), "503 is what probes hear"
    assert found.busy == 0.01 + 0.02 + 20.0
    assert found.queued == 0.005
    assert sum(found.slow.values()) == 3
    assert found.slow[float("inf")] == 1


@pytest.mark.parametrize("said", ["NaN", "-1", "+Inf"])
def test_what_is_no_count_is_refused(said):
    """It would end up in the status, and no status could be written any more."""
    with pytest.raises(ValueError, match="not a finite number"):
        read_metrics(f'# TYPE slipway_replies counter\nslipway_replies_total{{protocol="http",code="500"}} {said}\n')


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
    assert later.revisions["a"].answered == 10 + 20


def test_what_a_pod_counted_stays_when_it_goes():
    window = advance(None, "w", 0, {"p": seen(0, 0)})
    window = forget(advance(window, "w", 5, {"p": seen(5, 40)}), [])
    assert window.revisions["a"].answered == 40
    assert not window.pods
