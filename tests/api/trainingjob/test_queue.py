"""Gangs wait until the cluster has room for all their pods: on a real API server, with nodes of four GPUs each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.stage import Stage, condition
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api

GPU = "nvidia.com/gpu"


def asks(gpus: int) -> dict[str, Any]:
    return {"trainer": {"image": "x", "command": ["train"], "resourcesPerNode": {"limits": {GPU: gpus}}}}


@pytest.fixture
def cluster(stage: Stage, namespace: str, operators: Callable[..., Operator]) -> Iterator[tuple[Stage, str]]:
    """A namespace with an operator of its own; three nodes, twelve GPUs, of which other tests take none."""
    operator = operators(namespace)
    operator.ready()
    yield stage, namespace
    operator.kill()


def queued(stage: Stage, namespace: str, name: str) -> dict[str, Any]:
    return stage.until_condition(namespace, name, "Ready", "Unknown", "Queued")


def finish(stage: Stage, namespace: str, name: str, nodes: int) -> None:
    for index in range(nodes):
        stage.finish(namespace, f"{name}-node-{index}-a0")
    stage.until_condition(namespace, name, "Succeeded")


def test_all_or_nothing_by_priority_and_age(cluster: tuple[Stage, str]) -> None:
    stage, namespace = cluster
    for name in ("first", "old", "young", "urgent"):
        stage.scripts[name] = lambda pod: Script(runs_for=None)
    stage.create(namespace, "first", numNodes=3, **asks(3))
    stage.until_running(namespace, "first")
    stage.create(namespace, "old", numNodes=3, **asks(4))
    status = queued(stage, namespace, "old")
    assert status["queue"]["position"] == 1
    assert status["queue"]["missing"] == f"room for 0 of 3 pods that each ask for 4 {GPU}"
    assert "nodes" not in status
    stage.until_pods(namespace, "old", lambda pods: not pods)
    stage.create(namespace, "young", numNodes=1, **asks(4))
    stage.create(namespace, "urgent", numNodes=2, scheduling={"priority": 10}, **asks(4))
    queued(stage, namespace, "young")
    queued(stage, namespace, "urgent")
    finish(stage, namespace, "first", 3)
    stage.until_running(namespace, "urgent")
    assert condition(stage.job(namespace, "old")["status"], "Running")["reason"] == "Queued"  # type: ignore[index]
    finish(stage, namespace, "urgent", 2)
    stage.until_running(namespace, "old")
    assert "queue" not in stage.job(namespace, "old")["status"]
    finish(stage, namespace, "old", 3)
    stage.until_running(namespace, "young")
    finish(stage, namespace, "young", 1)


def test_waiting_costs_one_write(cluster: tuple[Stage, str]) -> None:
    stage, namespace = cluster
    for name in ("holder", "waiter"):
        stage.scripts[name] = lambda pod: Script(runs_for=None)
    stage.create(namespace, "holder", numNodes=3, **asks(4))
    stage.until_running(namespace, "holder")
    stage.create(namespace, "waiter", numNodes=1, **asks(4))
    queued(stage, namespace, "waiter")
    finish(stage, namespace, "holder", 3)
    stage.until_running(namespace, "waiter")
    own = [e for e in stage.writes(namespace) if "waiter" in e["requestURI"] and "/events" not in e["requestURI"]]
    patches = [e for e in own if e["verb"] == "patch"]
    assert len(patches) <= 3, "queued, created, running"
    finish(stage, namespace, "waiter", 1)


def test_who_waits_for_nobody_is_created_at_once(cluster: tuple[Stage, str]) -> None:
    stage, namespace = cluster
    stage.scripts["rash"] = lambda pod: Script(unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    stage.create(namespace, "rash", numNodes=1, scheduling={"gang": "None"}, **asks(64))
    stage.until_pods(namespace, "rash", lambda pods: len(pods) == 1)
    stage.delete(f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/trainingjobs", "rash")


def test_an_autoscaler_sees_the_pods_of_one_gang_and_they_go_back_if_no_node_comes(cluster: tuple[Stage, str]) -> None:
    stage, namespace = cluster
    for name in ("grows", "next"):
        stage.scripts[name] = lambda pod: Script(
            unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        )
        scheduling = {"scaleUp": "Pods", "scheduleTimeoutSeconds": 10}
        stage.create(namespace, name, numNodes=2, scheduling=scheduling, **asks(64))
    stage.until_pods(namespace, "grows", lambda pods: len(pods) == 2)
    queued(stage, namespace, "next")
    stage.until_pods(namespace, "grows", lambda pods: not pods, seconds=30)
    status = stage.until_job(namespace, "grows", lambda s: s.get("attempt") == 1)["status"]
    assert status.get("restartCount", 0) == 0
    stage.until_pods(namespace, "next", lambda pods: len(pods) == 2)


def test_a_higher_priorityclass_preempts_a_whole_gang_which_goes_on_afterwards(cluster: tuple[Stage, str]) -> None:
    stage, namespace = cluster
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    for name, value in ((f"{namespace}-low", 1), (f"{namespace}-high", 10)):
        stage.plane.client.call("POST", classes, {"metadata": {"name": name}, "value": value})
    for name in ("victim", "bystander", "urgent"):
        stage.scripts[name] = lambda pod: Script(runs_for=None)
    low = {"priorityClassName": f"{namespace}-low", "terminationGracePeriodSeconds": 2}
    stage.create(namespace, "bystander", numNodes=1, pod=low, **asks(4))
    stage.until_running(namespace, "bystander")
    stage.create(namespace, "victim", numNodes=2, pod=low, **asks(4))
    stage.until_running(namespace, "victim")
    high = {"priorityClassName": f"{namespace}-high"}
    stage.create(namespace, "urgent", numNodes=2, pod=high, scheduling={"preemption": "PriorityClass"}, **asks(4))
    stage.until_running(namespace, "urgent")
    status = queued(stage, namespace, "victim")
    assert (status.get("restartCount", 0), status.get("disruptionCount", 0)) == (0, 0)
    assert status["attempt"] == 1
    assert condition(stage.job(namespace, "bystander")["status"], "Running")["status"] == "True"  # type: ignore[index]
    finish(stage, namespace, "urgent", 2)
    stage.until_running(namespace, "victim", attempt=1)
    for index in range(2):
        stage.finish(namespace, f"victim-node-{index}-a1")
    finish(stage, namespace, "bystander", 1)
    for name in (f"{namespace}-low", f"{namespace}-high"):
        stage.delete(classes, name)


def test_a_node_that_comes_back_makes_room(cluster: tuple[Stage, str]) -> None:
    """The holder sees to it that the loss is known before there is room: else the gang is rightly let in."""
    stage, namespace = cluster
    stage.scripts["holder"] = lambda pod: Script(runs_for=None, node="node-0")
    stage.scripts["wide"] = lambda pod: Script(runs_for=None)
    stage.create(namespace, "holder", numNodes=1, **asks(4))
    stage.until_running(namespace, "holder")
    stage.lose_node("node-2")
    try:
        stage.create(namespace, "wide", numNodes=3, **asks(4))
        stage.until_job(namespace, "wide", lambda s: "room for 1 of 3" in (s.get("queue") or {}).get("missing", ""))
        finish(stage, namespace, "holder", 1)
    finally:
        stage.return_node("node-2")
    stage.until_running(namespace, "wide")
    finish(stage, namespace, "wide", 3)


def test_an_operator_that_restarts_asks_anew_and_keeps_the_order(
    stage: Stage, namespace: str, operators: Callable[..., Operator]
) -> None:
    operator = operators(namespace)
    operator.ready()
    for name in ("a", "b", "c"):
        stage.scripts[name] = lambda pod: Script(runs_for=None)
    stage.create(namespace, "a", numNodes=3, **asks(4))
    stage.until_running(namespace, "a")
    stage.create(namespace, "b", numNodes=2, **asks(4))
    queued(stage, namespace, "b")
    operator.kill()
    stage.create(namespace, "c", numNodes=2, **asks(4))
    operator.start()
    operator.ready()
    queued(stage, namespace, "c")
    finish(stage, namespace, "a", 3)
    stage.until_running(namespace, "b")
    finish(stage, namespace, "b", 2)
    stage.until_running(namespace, "c")
    finish(stage, namespace, "c", 2)
    operator.kill()
