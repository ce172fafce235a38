"""What a decision about gangs does not read again: pods of gangs that stand as they stood, specs of gangs in place."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime.client.resource import PRIORITY_CLASSES
from slipway.trainingjob.queueing import admission, running_gangs
from tests.unit.trainingjob.queueing.queue_world import Cluster

BEGAN = {"attemptTime": "2026-01-01T00:00:00Z", "startTime": "2026-01-01T00:00:00Z"}


@pytest.fixture
def cluster() -> Cluster:
    """Four running gangs on as many nodes."""
    cluster = Cluster()
    cluster.tell(PRIORITY_CLASSES, "low", value=1)
    cluster.tell(PRIORITY_CLASSES, "high", value=10)
    for number in range(4):
        cluster.node(f"n{number}")
        cluster.job(f"j{number}", 1, status=BEGAN, pod={"priorityClassName": "low"})
        cluster.pod(f"j{number}-node-0-a0", f"n{number}", job=f"j{number}")
    return cluster


def _counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *words: calls.append(words) or real(*words))
    return calls


def test_a_gang_that_preempts_walks_the_pods_of_those_gangs_alone_that_have_changed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = _counted(monkeypatch, running_gangs, "members")
    # Larger than all: it asks for everybody's place in each decision, and none helps.
    cluster.job("urgent", 9, pod={"priorityClassName": "high"}, scheduling={"preemption": "PriorityClass"})
    assert cluster.held("urgent")
    assert len(walks) == 5
    walks.clear()
    cluster.node("n9")
    assert cluster.held("urgent")
    assert not walks
    cluster.pod("j2-node-0-a0", "n2", job="j2", deletionTimestamp="2026-01-01T00:00:00Z")
    assert cluster.held("urgent")
    assert [words[1]["metadata"]["name"] for words in walks] == ["j2"]


def test_pods_that_are_going_and_what_a_gang_holds_stay_apart_when_nothing_is_read_again(cluster: Cluster) -> None:
    cluster.pod("j2-node-0-a0", "n2", job="j2", deletionTimestamp="2026-01-01T00:00:00Z")
    cluster.job("urgent", 1, pod={"priorityClassName": "high"}, scheduling={"preemption": "PriorityClass"})
    for number in range(3):
        assert "pods that are going make room" in cluster.held("urgent")
        cluster.node(f"m{number}", gpus=0)


def test_the_first_decision_reads_the_specs_of_those_gangs_alone_that_lack_a_node(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside 5,000 jobs in place the first decision after a start took 0.6 s of the loop."""
    reads = _counted(monkeypatch, admission, "spec_problems")
    cluster.job("half", 2, status=BEGAN)
    cluster.pod("half-node-0-a0", "n0", gpus=0, job="half")
    cluster.job("grown", 1, status={**BEGAN, "replicaStatuses": {"desired": 2}})
    cluster.pod("grown-node-0-a0", "n0", gpus=0, job="grown")
    cluster.job("elastic", 1, status=BEGAN, elasticPolicy={"minNodes": 1, "maxNodes": 2})
    cluster.job("waits", 9)
    assert cluster.held("waits")
    assert {name for name, _ in reads} == {"half", "grown", "elastic", "waits"}
