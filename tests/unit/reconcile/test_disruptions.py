"""What the cluster does to a pod is no failure of the program, and what the program does to itself is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.api.common.types import FailurePolicy, Reason
from slipway.gang.policy.restart import restart_or_fail
from slipway.reconcile.pods.observed import Failure, observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.runtime.conditions import format_time
from tests.unit.reconcile.pods import condition, deleted, ended, pod, running

NOW = datetime(2026, 11, 1, 12, 0, 10, tzinfo=UTC)
LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi."


def failure_of(body: dict[str, Any]) -> Failure:
    found = observe_pod(body, NOW, "trainer").failure
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("told", "message", "reason"),
    [
        ("Evicted", LOW, "Evicted"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "NodeShutdown"),
        ("Shutdown", "Node is shutting, evicting pods", "NodeShutdown"),
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", "NodeShutdown"),
        ("Preempting", "Preempted in order to admit critical pod", "Preempted"),
        ("NodeLost", "Node n which was running pod p is unresponsive", "NodeLost"),
        ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present", "NodeRefused"),
        ("OutOfnvidia.com/gpu", "Node didn't have enough resource: nvidia.com/gpu", "NodeRefused"),
        ("NodeAffinity", "Predicate NodeAffinity failed", "NodeRefused"),
    ],
)
@pytest.mark.parametrize("code", [None, 137, 143, 1])
def test_what_a_kubelet_does_is_a_disruption(told: str, message: str, reason: str, code: int | None) -> None:
    end = ended(code) if code is not None else {}
    failure = failure_of(pod(**end | {"phase": "Failed", "reason": told, "message": message}))
    assert (failure.reason, failure.disruption, failure.exit_code) == (reason, True, code)
    assert message in failure.message


@pytest.mark.parametrize(
    "message",
    [
        'Usage of EmptyDir volume "dshm" exceeds the limit "1Gi". ',
        "Pod ephemeral local storage usage exceeds the total limit of containers 8Mi. ",
        'Container trainer exceeded its local ephemeral storage limit "2Gi". ',
    ],
)
def test_an_eviction_for_a_limit_of_its_own_is_a_failure(message: str) -> None:
    """It would happen at each attempt again, a thousand times."""
    failure = failure_of(pod(phase="Failed", reason="Evicted", message=message))
    assert (failure.reason, failure.disruption) == ("Evicted", False)


@pytest.mark.parametrize(
    ("kind", "why", "reason"),
    [
        ("DisruptionTarget", "PreemptionByScheduler", "Preempted"),
        ("DisruptionTarget", "EvictionByEvictionAPI", "Evicted"),
        ("DisruptionTarget", "DeletionByTaintManager", "Evicted"),
        ("DisruptionTarget", "DeletionByPodGC", "NodeLost"),
        ("DisruptionTarget", "TerminationByKubelet", "Evicted"),
        ("TerminationTarget", "WorkloadEvictedDueToPreempted", "Preempted"),
        ("TerminationTarget", "StoppedByKueue", "Preempted"),
    ],
)
@pytest.mark.parametrize("state", ["going", "ended in time", "killed"])
def test_what_is_said_in_advance_is_a_disruption(kind: str, why: str, reason: str, state: str) -> None:
    said = {"conditions": [condition("Ready"), condition(kind, reason=why, message="make room")]}
    body = {
        "going": deleted(pod(**running() | said)),
        "ended in time": pod(**ended(143) | said),
        "killed": deleted(pod(**ended(137, finished="2026-11-01T12:00:09Z") | said)),
    }[state]
    failure = failure_of(body)
    assert (failure.reason, failure.disruption) == (reason, True)
    assert kind in failure.pod_conditions


def test_a_condition_that_is_false_says_nothing() -> None:
    said = {"conditions": [condition("DisruptionTarget", "False", "EvictionByEvictionAPI")]}
    assert not failure_of(pod(**ended(1) | said)).disruption


@pytest.mark.parametrize(("reason", "code"), [("ContainerStatusUnknown", 137), ("Unknown", 255)])
def test_a_container_lost_by_its_node_is_a_disruption(reason: str, code: int) -> None:
    """Its kubelet came back, and made up an end in the year 1, which is no time that a status can hold."""
    failure = failure_of(pod(**ended(code, reason, finished="0001-01-01T00:00:00Z")))
    assert (failure.reason, failure.disruption, failure.time) == ("NodeLost", True, NOW)


@pytest.mark.parametrize(("code", "reason"), [(1, "Error"), (137, "OOMKilled"), (255, "Error"), (139, "Error")])
def test_a_program_that_fails_is_no_disruption(code: int, reason: str) -> None:
    failure = failure_of(pod(**ended(code, reason)))
    assert (failure.reason, failure.disruption) == (reason, False)


def test_what_ended_before_it_was_asked_to_is_no_disruption() -> None:
    failure = failure_of(deleted(pod(**ended(1, finished="2026-11-01T11:59:00Z")), at="2026-11-01T12:00:40Z"))
    assert (failure.reason, failure.disruption) == ("Error", False)


def _drain(told: tuple[str, ...] = ("DisruptionTarget",)) -> Failure:
    return Failure("p", "n", "", None, "", Reason.EVICTED, "drained", NOW, told, disruption=True)


def _after(policy: dict[str, Any], failure: Failure, times: int, ran: bool = True) -> dict[str, Any]:
    status: dict[str, Any] = {}
    for lap in range(times):
        now = NOW + timedelta(minutes=lap)
        if ran:
            status["runningTime"] = format_time(now)
        status = restart_or_fail(FailurePolicy.model_validate(policy), failure, StatusDraft(status, 1, now)).done()
    return status


def _end(status: dict[str, Any]) -> str | None:
    return next((c["reason"] for c in status["conditions"] if c["type"] == "Failed"), None)


def test_a_job_survives_a_hundred_node_upgrades() -> None:
    status = _after({"maxRestarts": 0}, _drain(), 100)
    assert (status["restartCount"], status["restartCountTowardsMax"], status["disruptionCount"]) == (100, 0, 100)
    assert _end(status) is None
    assert "nextAttemptTime" not in status["backoff"]
    told = next(c["message"] for c in status["conditions"] if c["type"] == "Restarting")
    assert "disruption 100 of at most 1000" in told


def test_disruptions_have_a_limit_of_their_own() -> None:
    assert _end(_after({"maxDisruptions": 4}, _drain(), 4)) is None
    assert _end(_after({"maxDisruptions": 4}, _drain(), 5)) == "MaxDisruptionsExceeded"
    assert _end(_after({"maxDisruptions": 0}, _drain(), 1)) == "MaxDisruptionsExceeded"


def test_pods_sent_away_before_they_ran_come_back_slowly() -> None:
    """A queue or a node may refuse them at once: a thousand attempts must not take a minute."""
    backoff = _after({}, _drain(), 3, ran=False)["backoff"]
    assert (backoff["restarts"], "nextAttemptTime" in backoff) == (3, True)


@pytest.mark.parametrize("criterion", [{"onReasons": ["Evicted"]}, {"onPodConditions": ["DisruptionTarget"]}])
def test_a_rule_of_the_users_goes_before(criterion: dict[str, Any]) -> None:
    def with_rule(action: str) -> dict[str, Any]:
        return {"maxRestarts": 2, "maxDisruptions": 1, "rules": [{"action": action, **criterion}]}

    assert _end(_after(with_rule("FailJob"), _drain(), 1)) == "FailureRule"
    counted = _after(with_rule("Restart"), _drain(), 2)
    assert (counted["restartCountTowardsMax"], counted.get("disruptionCount", 0)) == (2, 0)
    assert _end(_after(with_rule("Restart"), _drain(), 3)) == "MaxRestartsExceeded"
    ignored = _after(with_rule("RestartIgnoreMaxRestarts"), _drain(), 9)
    assert (ignored["restartCount"], ignored["restartCountTowardsMax"], _end(ignored)) == (9, 0, None)


def test_what_never_had_a_node_can_not_run_whoever_holds_it() -> None:
    """Kueue's finalizer stays on a gated pod until its group has ended, which must not wait for the pod in turn."""
    gated = observe_pod(deleted(pod(node="", phase="Pending"), grace=0), NOW)
    assert not gated.may_run
    assert observe_pod(deleted(pod(phase="Pending"), grace=0), NOW).may_run
    assert observe_pod(pod(node="", phase="Pending"), NOW).may_run
