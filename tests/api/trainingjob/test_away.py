"""What happened while no operator ran is told as it was, on a real API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.operators import Operator
from tests.api.stage import PODS, Stage
from tests.cluster.scripted.script import Exit

pytestmark = pytest.mark.api


def test_a_pod_deleted_while_the_operator_was_away_is_the_one_that_the_status_names(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """Its peer ends by SIGTERM, as launchers end what is left of a gang, and was blamed for it."""
    operator = operators(namespace)
    stage.create(namespace, name, numNodes=2)
    stage.until_running(namespace, name)
    operator.kill()
    deleted, peer = f"{name}-node-0-a0", f"{name}-node-1-a0"
    stage.delete(PODS.format(namespace), deleted)
    stage.until_gone(PODS.format(namespace), deleted)
    stage.finish(namespace, peer, Exit(code=143))
    stage.until_pods(namespace, name, lambda pods: pods[peer]["status"]["phase"] == "Failed")
    operator.start()
    status = stage.until_running(namespace, name, attempt=1)["status"]
    assert status["lastFailure"].items() >= {"pod": deleted, "reason": "PodDeleted", "attempt": 0}.items()
    assert f"pod {peer}" in status["lastFailure"]["message"]
    assert status["restartCount"] == 1
    operator.kill()


def test_work_that_was_finished_is_not_done_again_whoever_removes_its_pods(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """A node with a finished pod is scaled away, the operator is away as well, and the gang started anew."""
    operator = operators(namespace)
    stage.create(namespace, name, numNodes=3)
    stage.until_running(namespace, name)
    first, second, last = (f"{name}-node-{index}-a0" for index in range(3))
    stage.finish(namespace, first)
    stage.until_job(namespace, name, lambda status: (status.get("completed") or {}).get("indexes") == "0")
    operator.kill()
    stage.delete(PODS.format(namespace), first)
    stage.until_gone(PODS.format(namespace), first)
    operator.start()
    operator.ready()
    stage.finish(namespace, second)
    stage.until_job(namespace, name, lambda status: (status.get("completed") or {}).get("indexes") == "0-1")
    stage.delete(PODS.format(namespace), second)
    stage.until_gone(PODS.format(namespace), second)
    stage.finish(namespace, last)
    status = stage.until_condition(namespace, name, "Succeeded")
    assert (status.get("restartCount", 0), status.get("attempt", 0)) == (0, 0)
    assert status["replicaStatuses"]["succeeded"] == 3
    assert "completed" not in status
    operator.kill()


def test_what_ended_and_went_unseen_costs_a_disruption_and_no_restart(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """No finalizer holds pods (ADR 16): what both ended and was removed while nobody watched is taken for deleted."""
    operator = operators(namespace)
    stage.create(namespace, name, numNodes=2, failurePolicy={"maxRestarts": 0})
    stage.until_running(namespace, name)
    operator.kill()
    gone = f"{name}-node-0-a0"
    stage.finish(namespace, gone)
    stage.until_pods(namespace, name, lambda pods: pods[gone]["status"]["phase"] == "Succeeded")
    stage.delete(PODS.format(namespace), gone)
    stage.until_gone(PODS.format(namespace), gone)
    operator.start()
    status = stage.until_running(namespace, name, attempt=1)["status"]
    assert (status["restartCount"], status["disruptionCount"]) == (1, 1)
    assert status.get("restartCountTowardsMax", 0) == 0
    assert status["lastFailure"]["reason"] == "PodDeleted"
    operator.kill()


def test_of_a_job_that_is_suspended_after_a_restart_the_pod_that_failed_stays_and_holds_nothing(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """Failed pod of the attempt before: kept for its log, and no live pod that a suspension waits for."""
    operator = operators(namespace)
    stage.create(namespace, name, numNodes=2, pod={"terminationGracePeriodSeconds": 1})
    stage.until_running(namespace, name)
    stage.finish(namespace, f"{name}-node-1-a0", Exit(code=3))
    stage.until_job(namespace, name, lambda status: status.get("attempt") == 1)
    stage.edit(namespace, name, runPolicy={"suspend": True})
    stage.until_condition(namespace, name, "Suspended")
    left = stage.until_pods(
        namespace, name, lambda pods: all(pod["status"].get("phase") == "Failed" for pod in pods.values())
    )
    assert set(left) == {f"{name}-node-1-a0"}
    stage.edit(namespace, name, runPolicy={"suspend": False})
    status = stage.until_running(namespace, name, attempt=2)["status"]
    assert status["restartCount"] == 1
    operator.kill()
