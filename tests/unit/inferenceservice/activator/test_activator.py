"""Scale to zero, carried out: in which order, what the status says, and that somebody always answers the Service."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.inferenceservice.activator.activator import activator_name
from slipway.inferenceservice.policy.zero import HANDOVER_SECONDS
from slipway.inferenceservice.service import BUDGETS, DEPLOYMENTS
from slipway.runtime.client.resource import SERVICES
from tests.unit.gitops.health import health
from tests.unit.gitops.kstatus import kstatus
from tests.unit.inferenceservice.activator.sleeper import ACTIVATOR, PODS, TO_ZERO, Sleeper, asleep


def test_it_comes_up_with_an_activator_beside_it_and_leads_to_its_pods() -> None:
    it = Sleeper()
    it.rest()
    assert (it.replicas, it.leads_to) == (1, PODS)
    activator = it.there[DEPLOYMENTS][activator_name("s")]
    assert activator["spec"]["replicas"] == 2
    assert it.there[SERVICES]["s-predictor"]["spec"]["selector"] == PODS
    labels = activator["spec"]["template"]["metadata"]["labels"]
    assert not PODS.items() <= labels.items(), "what selects the pods must not find it"
    assert ACTIVATOR.items() <= labels.items()
    assert it.status["replicas"] == {"desired": 1, "ready": 1, "updated": 1}


def test_without_a_request_the_service_is_led_away_before_the_last_pod_goes() -> None:
    it = Sleeper()
    it.rest()
    it.log.clear()
    it.wait(60)
    away = {"selector": {**dict.fromkeys(PODS), **ACTIVATOR}}
    assert it.log == [f"Service {away}", "Deployment {'replicas': 0}"]
    assert (it.replicas, it.leads_to) == (0, ACTIVATOR)


def test_between_the_two_there_is_time_for_every_node_to_hear_of_it() -> None:
    it = Sleeper()
    it.rest()
    led = gone = 0
    for second in range(60):
        it.wait(1)
        led = led or (second if it.leads_to == ACTIVATOR else 0)
        gone = gone or (second if it.replicas == 0 else 0)
    assert gone - led >= HANDOVER_SECONDS - 1
    assert 30 <= led <= 35


def test_at_zero_it_is_ready_and_healthy_under_the_same_address() -> None:
    it = Sleeper()
    it.rest()
    url = it.status["url"]
    it.wait(60)
    assert it.ready() == ("True/NoTraffic", "scaled to zero: waiting for a request")
    assert it.status["url"] == url
    assert health(it.obj()) == ("Healthy", "NoTraffic: scaled to zero: waiting for a request")
    assert kstatus(it.obj()) == "Current"
    assert "no request for 30 s: 1 -> 0" in it.status["autoScaling"]["message"]


def test_the_first_request_brings_a_pod_and_the_service_leads_to_it_when_it_is_ready() -> None:
    it = asleep()
    it.starting, it.held = True, 1
    assert it.look().persist_first
    it.rest()
    assert (it.replicas, it.leads_to) == (1, ACTIVATOR)
    state, words = it.ready()
    assert state == "True/Activating"
    assert "requests wait for it at the activator" in words
    assert health(it.obj())[0] == "Healthy"
    assert "woken by a request, 1 wait: 0 -> 1" in it.status["autoScaling"]["message"]
    it.wait(200, step=20)
    assert it.replicas == 1, "however long it takes: who waits is waited for"
    it.starting, it.held, it.busy = False, 0, 0.5
    it.rest()
    assert (it.leads_to, it.ready()[0]) == (PODS, "True/Serving")


def test_many_who_wait_get_several_pods_at_once() -> None:
    it = asleep()
    it.held = 200
    it.rest()
    assert it.replicas == 4


def test_a_request_in_the_last_moment_keeps_the_pod() -> None:
    it = Sleeper()
    it.rest()
    while it.leads_to == PODS:
        it.wait(1)
    it.heard = it.now.timestamp()
    it.wait(HANDOVER_SECONDS + 5)
    assert (it.replicas, it.leads_to) == (1, PODS)
    assert "Deployment {'replicas': 0}" not in it.log


def test_what_the_activator_has_not_said_yet_is_waited_for() -> None:
    it = Sleeper()
    it.rest()
    it.asked = False
    it.wait(100, step=5)
    assert (it.replicas, it.leads_to) == (1, ACTIVATOR)
    it.asked = True
    it.wait(1)
    assert it.replicas == 0


def test_an_operator_that_takes_over_lets_it_sleep() -> None:
    """It has asked nobody yet, and knows no history."""
    it = asleep()
    it.asked, it.history = False, ()
    it.wait(100, step=5)
    assert (it.replicas, it.leads_to) == (0, ACTIVATOR)


def test_without_its_activator_a_replica_serves() -> None:
    it = asleep()
    it.activator_ready = False
    it._settled()
    it.rest()
    assert (it.replicas, it.leads_to) == (1, PODS)
    assert "the activator is not ready: 0 -> 1" in it.status["autoScaling"]["message"]
    it.wait(100, step=5)
    assert it.replicas == 1


def test_why_there_is_no_activator_is_told() -> None:
    """A quota, most likely: the service serves, and goes on serving."""
    it = Sleeper()
    it.activator_ready = False
    it.rest()
    told = it.condition("ActivatorReady")
    assert (told["status"], told["reason"]) == ("False", "Pending")
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    it.there[DEPLOYMENTS][activator_name("s")]["status"]["conditions"] = [refused]
    decision = it.look()
    assert decision.status is not None
    told = next(c for c in decision.status["conditions"] if c["type"] == "ActivatorReady")
    assert told["reason"] == "CreateRefused"
    assert told["message"].startswith("exceeded quota: pods; ")
    it.wait(100, step=5)
    assert (it.replicas, it.leads_to) == (1, PODS)
    it.activator_ready = True
    it._settled()
    it.rest()
    assert not it.condition("ActivatorReady")


def test_a_new_revision_is_not_left_for_the_first_request_to_find_out() -> None:
    it = asleep()
    it.spec = {**it.spec, "predictor": {**it.spec["predictor"], "batching": {"maxBatchSize": 8}}}
    it.rest()
    assert it.replicas >= 1
    assert it.ready()[0] == "True/Serving"
    it.wait(60)
    assert (it.replicas, it.leads_to) == (0, ACTIVATOR)


def test_a_revision_that_cannot_serve_keeps_the_one_before_awake() -> None:
    it = asleep()
    before = set(it.there[DEPLOYMENTS])
    it.starting = True
    it.spec = {**it.spec, "predictor": {**it.spec["predictor"], "batching": {"maxBatchSize": 8}}}
    it.wait(100, step=5)
    assert before <= set(it.there[DEPLOYMENTS])
    assert all(d["spec"]["replicas"] for d in it.there[DEPLOYMENTS].values())


def test_turned_off_by_hand_nobody_is_held() -> None:
    it = asleep()
    it.spec = {**it.spec, "replicas": 0}
    it.rest()
    assert it.ready()[0] == "True/ScaledToZero"
    assert (it.replicas, it.leads_to) == (0, PODS)
    assert activator_name("s") not in it.there[DEPLOYMENTS]


@pytest.mark.parametrize("scaling", [{**TO_ZERO, "minReplicas": 1, "scaleToZeroPodRetentionSeconds": None}, None])
def test_when_the_spec_takes_it_away_the_activator_serves_those_whom_it_holds_first(scaling: Any) -> None:
    it = asleep()
    it.starting, it.held = True, 1
    it.rest()
    it.spec = {**it.spec, "autoScaling": scaling and {k: v for k, v in scaling.items() if v is not None}}
    it.rest()
    assert (it.replicas, it.leads_to) == (1, ACTIVATOR)
    assert activator_name("s") in it.there[DEPLOYMENTS]
    it.starting = False
    it.rest()
    assert it.leads_to == PODS
    assert activator_name("s") not in it.there[DEPLOYMENTS]
    name = activator_name("s")
    assert it.log[-3:] == [f"delete {name}", "delete s-predictor", f"delete {name}"]
    assert set(it.there[BUDGETS[0]]) == {"s"}


def test_a_drain_of_nodes_leaves_one_activator_to_hold_the_clients() -> None:
    it = Sleeper()
    it.rest()
    budget = it.there[BUDGETS[0]][activator_name("s")]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": ACTIVATOR}}
    assert it.there[BUDGETS[0]]["s"]["spec"]["selector"]["matchLabels"] == PODS


def test_another_image_of_the_activator_rolls_out() -> None:
    it = Sleeper()
    it.rest()
    it.spec = {**it.spec, "predictor": {**it.spec["predictor"], "startupSeconds": 60}}
    writes = [w for w in it.look().writes if w.manifest["metadata"]["name"] == activator_name("s")]
    assert [w.replace for w in writes] == [True]
    assert "--hold" in writes[0].manifest["spec"]["template"]["spec"]["containers"][0]["command"]


events = st.lists(
    st.tuples(
        st.sampled_from(["idle", "busy", "held", "slow", "quick", "deaf", "dead"]),
        st.integers(min_value=1, max_value=20),
    ),
    max_size=6,
)


@given(events)
@settings(max_examples=20, deadline=None)
def test_whatever_happens_somebody_answers_the_service_and_nobody_who_asks_finds_it_gone(days: Any) -> None:
    it = Sleeper()
    it.rest()
    for what, seconds in days:
        it.busy = 1.0 if what == "busy" else 0.0
        it.held = 2 if what == "held" else 0
        it.starting = what == "slow"
        it.asked = what != "deaf"
        it.activator_ready = what != "dead"
        it._settled()
        for _ in range(seconds):
            before = it.replicas
            it.wait(4, step=4)
            if before and not it.replicas:
                assert it.leads_to == ACTIVATOR
                assert not it.busy
                assert not it.held
            if it.leads_to == ACTIVATOR:
                assert it.activator_ready
            elif not it.starting:
                assert it.replicas
            if it.held and it.activator_ready:
                assert it.replicas
