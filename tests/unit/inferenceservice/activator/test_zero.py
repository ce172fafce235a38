"""Scale to zero, the decisions: never while somebody asks or nobody would hold them, and back at once."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from slipway.api.serving.autoscaling import AutoScaling
from slipway.inferenceservice.policy.demand import ActivatorReply, demand_since, read_demand
from slipway.inferenceservice.policy.scale import STEP, Load, Recommendation, settle
from slipway.inferenceservice.policy.zero import HANDOVER_SECONDS, ActivatorState, asked_for, left, stands_in

SCALING = AutoScaling(
    min_replicas=0,
    max_replicas=10,
    scale_target=4,
    scale_down_stabilization_seconds=300,
    scale_to_zero_pod_retention_seconds=60,
)
GOOD = ActivatorState(ready=True)
IDLE = Load((0.0,))
loads = st.builds(
    Load,
    st.lists(st.floats(0, 1000, allow_nan=False), max_size=10).map(tuple),
    st.integers(0, 5),
    st.floats(0, 1000, allow_nan=False),
)
standbys = st.builds(
    ActivatorState,
    ready=st.booleans(),
    in_place=st.booleans(),
    quiet=st.booleans(),
    wanted=st.booleans(),
    held=st.integers(0, 2000),
    deaf=st.booleans(),
    emptied=st.booleans(),
    unsettled=st.sampled_from(["", "a revision rolls out"]),
)


@given(st.integers(1, 10), loads, standbys)
def test_zero_is_asked_for_only_when_all_replicas_were_asked_and_nothing_is_in_them(current, load, activator_state):
    asked = asked_for(SCALING, current, load, activator_state)
    assert 0 <= asked <= 10
    if asked == 0:
        assert load.pods
        assert not load.unknown
        assert sum(load.pods) + load.inside == 0
        assert activator_state.ready
        assert not activator_state.deaf
        assert not activator_state.unsettled


@given(loads, standbys)
def test_it_wakes_at_once_when_somebody_asks_or_nobody_would_hold_them(load, activator_state):
    asked = asked_for(SCALING, 0, load, activator_state)
    somebody = activator_state.wanted or any(load.pods) or load.inside > 0
    assert (asked > 0) == (somebody or bool(activator_state.trouble))
    assert asked <= STEP
    assert settle(SCALING, 0, asked, [Recommendation(0.0, 0)], 1.0)[0] == asked, "up, nothing is waited for"


def test_it_wakes_with_enough_for_those_who_wait_but_not_with_a_hundred_pods():
    woken = ActivatorState(ready=True, wanted=True)
    assert [asked_for(SCALING, 0, Load(()), replace(woken, held=n)) for n in (0, 1, 4, 5, 200)] == [1, 1, 1, 2, STEP]


@given(
    st.lists(st.tuples(st.integers(1, 30), st.one_of(st.just(IDLE), loads)), min_size=1, max_size=60),
    st.integers(1, 10),
)
def test_the_last_replica_stays_for_the_whole_retention_after_the_last_request(looks, current):
    """Whatever happens before: at zero, each look of the last minute has found nothing."""
    history, now, replicas = (), 0.0, current
    seen = [(now, False)]
    for pause, load in looks:
        now += pause
        asked = asked_for(SCALING, replicas, load, GOOD)
        replicas, history = settle(SCALING, replicas, asked, history, now)
        seen.append((now, asked == 0))
        if replicas == 0:
            assert all(nothing for at, nothing in seen if now - at <= 60)
            return


def test_from_idle_to_zero_in_the_retention_and_not_in_the_longer_window_for_scaling_down():
    history, replicas, now = (), 3, 0
    while replicas == 3:
        now += 5
        replicas, history = settle(SCALING, replicas, asked_for(SCALING, replicas, IDLE, GOOD), history, now)
    assert (replicas, now) == (0, 70), "it began at the first look, at 5 s"


def test_one_request_in_between_begins_the_retention_anew():
    history, replicas, zero_at = (), 1, None
    for now in range(0, 200, 5):
        load = Load((0.1,)) if now == 50 else IDLE
        replicas, history = settle(SCALING, replicas, asked_for(SCALING, replicas, load, GOOD), history, now)
        if replicas == 0:
            zero_at = now
            break
    assert zero_at == 115


def test_a_long_request_that_is_still_computed_keeps_its_replica():
    assert asked_for(SCALING, 1, Load((0.0,), inside=1), GOOD) == 1


@given(standbys, st.floats(0, 100))
def test_the_last_pod_goes_when_the_activator_has_taken_over_and_says_that_nobody_came(activator_state, seconds):
    if left(activator_state, seconds) == 0 and not activator_state.emptied:
        assert activator_state.in_place
        assert activator_state.quiet
        assert seconds >= HANDOVER_SECONDS


@given(standbys, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_the_service_leads_to_the_activator_only_while_it_can_hold_and_nobody_else_will_serve(
    activator_state, may_sleep, sleeping, wanted, serving
):
    leads = stands_in(activator_state, may_sleep=may_sleep, sleeping=sleeping, wanted=wanted, serving=serving)
    if leads:
        assert activator_state.ready
        assert sleeping or (wanted and not serving)
    if activator_state.ready and (sleeping or (may_sleep and wanted and not serving)):
        assert leads


def page(held: int, idle: float | None) -> bytes:
    text = f"# TYPE slipway_activator_held gauge\nslipway_activator_held {held}\n"
    return (text if idle is None else f"{text}slipway_activator_idle_seconds {idle}\n").encode()


def test_only_what_was_said_after_the_decision_counts():
    told = {"a": read_demand(page(0, 30.0), 100.0), "b": read_demand(page(0, None), 100.0)}
    assert told["a"] == ActivatorReply(100.0, 0, 70.0)
    assert told["b"].heard is None
    quiet = demand_since(80, told, ["a", "b"])
    assert (quiet.known, quiet.wanted) == (True, False), "the last client came before it"
    assert demand_since(60, told, ["a", "b"]).wanted
    assert not demand_since(80, told, ["a", "b", "c"]).known
    assert not demand_since(100, told, ["a", "b"]).known
    assert not demand_since(80, told, []).known
    waiting = demand_since(80, {**told, "b": read_demand(page(3, 0.0), 101.0)}, ["a", "b"])
    assert (waiting.held, waiting.wanted) == (3, True)


def test_what_is_no_page_of_an_activator_is_refused():
    for text in (b"", b"x y z\n", page(-1, None), page(1, -5.0), page(2**40, None), b"slipway_activator_held NaN\n"):
        try:
            read_demand(text, 0.0)
        except ValueError:
            continue
        raise AssertionError(f"taken: {text!r}")
