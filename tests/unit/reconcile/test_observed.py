"""What a pod tells: what keeps it from running and what ended it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.reconcile.pods.observed import Failure, observe_pod
from tests.unit.reconcile.pods import NOW as NOON
from tests.unit.reconcile.pods import condition, deleted, ended, pod, running, waiting

NOW = datetime(2026, 11, 1, 12, 0, 10, tzinfo=UTC)


def failure_of(body: dict[str, Any]) -> Failure:
    found = observe_pod(body, NOW).failure
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("code", "signal"), [(1, ""), (137, "SIGKILL"), (143, "SIGTERM"), (139, "SIGSEGV"), (134, "SIGABRT"), (255, "")]
)
def test_exit_codes_above_128_name_the_signal(code: int, signal: str) -> None:
    failure = failure_of(pod(**ended(code)))
    assert (failure.exit_code, failure.signal, failure.container, failure.node) == (code, signal, "trainer", "n")
    assert failure.time == datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def test_oom_keeps_its_reason_and_its_words() -> None:
    failure = failure_of(pod(**ended(137, "OOMKilled", message="tail of the log\n")))
    assert (failure.reason, failure.signal, failure.message) == ("OOMKilled", "SIGKILL", "tail of the log")


def test_an_evicted_pod_has_no_exit_code_but_a_reason() -> None:
    failure = failure_of(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))
    assert (failure.reason, failure.exit_code) == ("Evicted", None)
    assert "low on resource" in failure.message


@pytest.mark.parametrize(("reason", "told"), [("Evicted", "Evicted"), ("Preempting", "Preempted")])
def test_who_ended_the_pod_is_the_reason_and_not_how_its_container_died(reason: str, told: str) -> None:
    failure = failure_of(pod(**ended(137) | {"reason": reason, "message": "the node was low on memory"}))
    assert (failure.reason, failure.exit_code, failure.signal) == (told, 137, "SIGKILL")


def test_the_container_that_failed_is_the_one_named() -> None:
    good = {"name": "sidecar", "state": {"terminated": {"exitCode": 0}}}
    bad = {"name": "trainer", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    failure = failure_of(pod(phase="Failed", containerStatuses=[good, bad]))
    assert (failure.container, failure.exit_code) == ("trainer", 3)


def test_a_failed_init_container_is_named_too() -> None:
    bad = {"name": "fetch", "state": {"terminated": {"exitCode": 4, "reason": "Error"}}}
    never = {"name": "trainer", "state": {"waiting": {"reason": "PodInitializing"}}}
    failure = failure_of(pod(phase="Failed", initContainerStatuses=[bad], containerStatuses=[never]))
    assert (failure.container, failure.exit_code) == ("fetch", 4)


@pytest.mark.parametrize(
    ("why", "expected"), [("PreemptionByScheduler", "Preempted"), ("EvictionByEvictionAPI", "Evicted")]
)
@pytest.mark.parametrize("gone", [True, False], ids=["ended", "deleted"])
def test_a_disruption_is_the_reason_whether_or_not_the_containers_have_ended(
    why: str, expected: str, gone: bool
) -> None:
    told = [condition("Ready"), condition("DisruptionTarget", "True", why, "for a better pod")]
    status = {**ended(143), "conditions": told} if gone else {**running(), "conditions": told}
    failure = failure_of(deleted(pod(**status)))
    assert failure.reason == expected
    assert "DisruptionTarget" in failure.pod_conditions


def test_a_deleted_pod_whose_node_is_silent_is_a_lost_node() -> None:
    """Kubernetes 1.26 and later also say DisruptionTarget, DeletionByTaintManager: the node is what matters."""
    assert failure_of(deleted(pod(**running(ready=False)))).reason == "NodeLost"
    tainted = running(ready=False)
    tainted["conditions"].append(condition("DisruptionTarget", "True", "DeletionByTaintManager"))
    assert failure_of(deleted(pod(**tainted))).reason == "NodeLost"


def test_a_deleted_pod_failed_when_its_deletion_was_asked_for() -> None:
    failure = failure_of(deleted(pod(**running()), at="2026-11-01T12:00:35Z", grace=30))
    assert failure.reason == "PodDeleted"
    assert failure.time == datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(("finished", "reason"), [("2026-11-01T12:00:06Z", "PodDeleted"), (NOON, "Error")])
def test_containers_that_ended_after_somebody_deleted_their_pod_ended_because_of_it(finished: str, reason: str) -> None:
    """A pod in its grace period said only `Error, SIGTERM, exit code 143`: nobody learned that it had been deleted."""
    body = deleted(pod(**ended(143, finished=finished)), at="2026-11-01T12:00:35Z", grace=30)
    failure = failure_of(body)
    assert (failure.reason, failure.exit_code, failure.signal) == (reason, 143, "SIGTERM")
    assert failure.time.second == (5 if reason == "PodDeleted" else 0)


def test_out_of_memory_while_it_was_to_go_is_still_out_of_memory() -> None:
    assert failure_of(deleted(pod(**ended(137, "OOMKilled")))).reason == "OOMKilled"


def test_a_pod_that_succeeded_is_no_failure_even_if_deleted() -> None:
    state = observe_pod(deleted(pod(**ended(0, "Completed"))), NOW)
    assert state.failure is None
    assert state.ended


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (waiting("ErrImagePull", "manifest unknown"), "ImagePullError", "ErrImagePull: manifest unknown"),
        (waiting("ImagePullBackOff"), "ImagePullError", "no further words"),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), "ContainerConfigError", 'secret "s" not found'),
        (
            {
                "phase": "Pending",
                "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/2 nodes: no GPU")],
            },
            "Unschedulable",
            "0/2 nodes: no GPU",
        ),
    ],
)
def test_obstacles_keep_the_servers_words(status: dict[str, Any], reason: str, words: str) -> None:
    obstacle = observe_pod(pod(**status), NOW).obstacle
    assert obstacle is not None
    assert obstacle.reason == reason
    assert words in obstacle.message


def test_a_container_that_is_being_created_is_no_obstacle() -> None:
    assert observe_pod(pod(**waiting("ContainerCreating")), NOW).obstacle is None
    assert observe_pod(pod(phase="Pending"), NOW).obstacle is None


@pytest.mark.parametrize(("code", "told"), [(137, "Error"), (143, "PodDeleted"), (1, "PodDeleted")])
def test_a_container_killed_in_the_second_of_its_pods_deletion_was_not_killed_by_it(code: int, told: str) -> None:
    """A kubelet asks first and kills after the grace period: the worker whose kill ended the gang looked deleted."""
    asked = deleted(pod(**ended(code, finished="2026-11-01T12:00:00Z")), at="2026-11-01T12:00:30Z", grace=30)
    assert failure_of(asked).reason == told
