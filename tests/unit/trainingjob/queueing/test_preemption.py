"""Priority by PriorityClass: who gives way to whom, and in which order the others wait."""

from __future__ import annotations

import pytest

from slipway.runtime.client.resource import PODS, PRIORITY_CLASSES
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.queueing.queue_world import Cluster


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.node(name)
    return cluster


def classes(cluster: Cluster, **values: int) -> None:
    for name, value in values.items():
        cluster.tell(PRIORITY_CLASSES, name, value=value)


def running(cluster: Cluster, name: str, node: str, priority_class: str) -> None:
    began = {"attemptTime": "2026-01-01T00:00:00Z", "startTime": "2026-01-01T00:00:00Z"}
    cluster.job(name, 1, status=began, pod={"priorityClassName": priority_class})
    cluster.pod(f"{name}-node-0-a0", node, job=name)


def gives_way(cluster: Cluster, name: str) -> str:
    job = cluster.cache[TRAINING_JOBS].get("n", name)
    assert job is not None
    return cluster.admission.view(job).gives_way


def test_a_job_of_a_higher_priorityclass_takes_the_place_of_a_lower_one(cluster: Cluster) -> None:
    classes(cluster, low=1, high=10)
    running(cluster, "one", "a", "low")
    running(cluster, "two", "b", "low")
    cluster.job("urgent", 1, pod={"priorityClassName": "high"}, scheduling={"preemption": "PriorityClass"})
    cluster.woken.clear()
    assert "of lower priority give way" in cluster.held("urgent")
    victim = next(name for name in ("one", "two") if gives_way(cluster, name))
    other = next(name for name in ("one", "two") if name != victim)
    assert gives_way(cluster, victim) == "n/urgent"
    assert gives_way(cluster, other) == ""
    assert cluster.woken == [victim]
    again = {"attempt": 1, "startTime": "2026-01-01T00:00:00Z"}
    cluster.job(victim, 1, status=again, pod={"priorityClassName": "low"})
    assert cluster.held(victim), "it waits, behind the one that it gave way to"
    assert "pods that are going make room" in cluster.held("urgent")
    assert gives_way(cluster, other) == "", "one is enough, while its pods still go"
    cluster.tell(PODS, f"{victim}-node-0-a0", "DELETED", spec={}, status={})
    assert cluster.held("urgent") == ""
    assert cluster.held(victim).startswith("1/1")


@pytest.mark.parametrize("case", ["never", "class says never", "unknown class", "own priority alone"])
def test_nobody_gives_way_without_the_policy(cluster: Cluster, case: str) -> None:
    classes(cluster, low=1, high=10)
    if case == "class says never":
        cluster.tell(PRIORITY_CLASSES, "high", value=10, preemptionPolicy="Never")
    running(cluster, "one", "a", "low")
    running(cluster, "two", "b", "low")
    scheduling = {"preemption": "Never" if case == "never" else "PriorityClass"}
    name = {"unknown class": "nobody-knows", "own priority alone": "low"}.get(case, "high")
    if case == "own priority alone":
        scheduling["priority"] = 9
    cluster.job("urgent", 1, pod={"priorityClassName": name}, scheduling=scheduling)
    assert cluster.held("urgent")
    assert [gives_way(cluster, victim) for victim in ("one", "two")] == ["", ""]


def test_a_priorityclass_orders_the_line_before_all_else(cluster: Cluster) -> None:
    classes(cluster, high=10)
    cluster.pod("p", "a", job="gone")
    cluster.pod("q", "b", job="gone")
    cluster.job("again", 1, status={"attempt": 1, "startTime": "2026-01-01T00:00:00Z"})
    cluster.job("own", 1, scheduling={"priority": 99})
    cluster.job("high", 1, pod={"priorityClassName": "high"})
    assert [cluster.held(name)[0] for name in ("high", "again", "own")] == ["1", "2", "3"]


def test_a_node_is_free_for_gangs_of_another_kind_to_wait_for(cluster: Cluster) -> None:
    """Jobs of other schedulers, suspended ones and those of other controllers give way to nobody."""
    classes(cluster, low=1, high=10)
    began = {"attemptTime": "2026-01-01T00:00:00Z"}
    for name, node, more in (
        ("kueue", "a", {"scheduling": {"gang": "Kueue", "queue": "q"}}),
        ("suspended", "b", {"runPolicy": {"suspend": True}}),
    ):
        cluster.job(name, 1, status=began, pod={"priorityClassName": "low"}, **more)
        cluster.pod(f"{name}-node-0-a0", node, job=name)
    cluster.job("urgent", 1, pod={"priorityClassName": "high"}, scheduling={"preemption": "PriorityClass"})
    assert cluster.held("urgent")
    assert [gives_way(cluster, name) for name in ("kueue", "suspended")] == ["", ""]
