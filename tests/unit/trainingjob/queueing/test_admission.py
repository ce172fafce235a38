"""Who is let in, who is woken, and how few decisions that takes: the admission over a cache, without a server."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import LIMIT_RANGES, PODS, QUOTAS
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.queueing.queue_world import GPU, Cluster


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("a", "b"):
        cluster.node(name)
    return cluster


def test_what_was_promised_is_not_promised_again_before_its_pods_exist(cluster: Cluster) -> None:
    cluster.job("one", 1)
    cluster.job("two", 2)
    assert cluster.held("one") == ""
    assert cluster.held("two").startswith("1/1 room for 1 of 2 pods")
    cluster.job("three", 1)
    assert "kept for n/two" in cluster.held("three")


def test_a_pod_that_has_its_node_is_promised_no_second_place(cluster: Cluster) -> None:
    cluster.node("c")
    cluster.job("one", 2)
    assert cluster.held("one") == ""
    cluster.pod("one-node-0-a0", "a", job="one")
    cluster.job("two", 1)
    assert cluster.held("two") == "", "a is taken, b is promised, c is free"


def test_a_gang_that_strangers_keep_out_for_good_holds_up_nobody(cluster: Cluster) -> None:
    """Their pods are not counted as ones that will end: no room is kept where it may never come."""
    cluster.pod("database", "a")
    cluster.job("wide", 2)
    assert "too many even for the nodes' whole capacity" in cluster.held("wide")
    cluster.job("small", 1)
    assert cluster.held("small") == ""


def test_priority_goes_before_age(cluster: Cluster) -> None:
    cluster.pod("p", "a", job="gone")
    cluster.pod("q", "b", job="gone")
    for name, priority in (("old", 0), ("urgent", 5)):
        cluster.job(name, 1, scheduling={"priority": priority})
    assert cluster.held("urgent").startswith("1/2")
    assert cluster.held("old").startswith("2/2")


def test_the_end_of_a_pod_wakes_whom_it_lets_in(cluster: Cluster) -> None:
    cluster.pod("p", "a", job="gone")
    cluster.pod("q", "b")
    for name in ("one", "two"):
        cluster.job(name, 1)
        assert cluster.held(name)
    cluster.woken.clear()
    cluster.pod("p", "a", job="gone", phase="Succeeded")
    assert cluster.woken == ["one"]
    cluster.woken.clear()
    cluster.tell(PODS, "q", "DELETED", spec={"nodeName": "b"}, status={})
    assert cluster.woken == ["two"]
    assert cluster.held("one") == ""
    assert cluster.held("two") == ""


def test_news_that_change_no_decision_cost_none(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.pod("p", "a")
    cluster.pod("q", "b")
    cluster.job("one", 1)
    assert cluster.held("one")
    decided: list[int] = []
    whole = cluster.admission._decide
    monkeypatch.setattr(cluster.admission, "_decide", lambda: (decided.append(1), whole()))
    cluster.job("one", 1, status={"conditions": []})
    asked = [{"name": "c", "resources": {"limits": {GPU: "4"}}}]
    news = {"nodeName": "a", "containers": asked}
    cluster.tell(PODS, "p", metadata={"annotations": {"x": "y"}}, spec=news, status={"phase": "Running"})
    cluster.node("a")
    for _ in range(5):
        cluster.held("one")
    assert decided == []
    cluster.node("a", ready="Unknown")
    cluster.held("one")
    assert decided == [1]


def test_a_pod_that_was_resized_in_place_is_news(cluster: Cluster) -> None:
    cluster.pod("p", "a")
    cluster.pod("q", "b")
    cluster.job("one", 1)
    assert cluster.held("one")
    cluster.pod("p", "a", gpus=0)
    assert cluster.held("one") == ""


def test_a_strangers_pod_takes_room_and_one_that_a_quota_refuses_keeps_none(cluster: Cluster) -> None:
    cluster.pod("theirs", "a")
    paused = {"refusals": 1, "nextAttemptTime": "2026-01-01T00:01:00Z"}
    cluster.job("one", 1)
    assert cluster.held("one") == ""
    cluster.job("two", 1)
    assert cluster.held("two")
    cluster.woken.clear()
    cluster.job("one", 1, status={"backoff": paused})
    assert cluster.woken == ["two"]
    assert cluster.held("two") == ""
    cluster.now += timedelta(minutes=2)
    assert cluster.held("one").startswith("1/1"), "its pause is over, and its place is taken"


def quota(cluster: Cluster, used: int, hard: int = 4) -> None:
    status = {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}}
    cluster.tell(QUOTAS, "q", spec={"hard": {"pods": str(hard)}}, status=status)


def test_two_gangs_that_come_together_share_no_quota_and_news_of_it_wake_the_first(cluster: Cluster) -> None:
    for name in "cdefgh":
        cluster.node(name)
    quota(cluster, used=0)
    for name in ("one", "two"):
        cluster.job(name, 3)
    assert cluster.held("one") == ""
    assert "exceeded quota: q, requested: pods=3, used: pods=3, limited: pods=4" in cluster.held("two")
    for index in range(3):
        cluster.pod(f"one-node-{index}-a0", "abc"[index], job="one")
    cluster.job("one", 3, status={"attemptTime": "2026-01-01T00:00:00Z"})
    quota(cluster, used=3)
    assert "used: pods=3" in cluster.held("two"), "counted once"
    cluster.woken.clear()
    quota(cluster, used=0)
    assert cluster.woken == ["two"]
    assert cluster.held("two") == ""


def test_a_limitrange_s_defaults_are_asked_of_the_nodes(cluster: Cluster) -> None:
    cluster.job("one", 1, gpus=1)
    cluster.pod("p", "a")
    cluster.pod("q", "b")
    assert "1 nvidia.com/gpu" in cluster.held("one")
    entry = {"type": "Container", "defaultRequest": {"cpu": "8"}, "default": {"cpu": "8"}}
    cluster.tell(LIMIT_RANGES, "r", spec={"limits": [entry]})
    assert "8 cpu, 1 nvidia.com/gpu" in cluster.held("one")


def test_news_of_quotas_where_nobody_waits_cost_no_decision(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    quota(cluster, used=1)
    monkeypatch.setattr(cluster.admission, "_stale", False)
    quota(cluster, used=2)
    assert not cluster.admission._stale


def test_nobody_waits_who_is_suspended_finished_or_anothers(cluster: Cluster) -> None:
    cluster.job("big", 9)
    assert "too many even" in cluster.held("big")
    cluster.job("suspended", 9, runPolicy={"suspend": True})
    cluster.job("managed", 9, runPolicy={"managedBy": "example.com/other"})
    cluster.job("kueue", 9, scheduling={"gang": "Kueue", "queue": "q"})
    cluster.job("rash", 9, scheduling={"gang": "None"})
    for name in ("suspended", "managed", "kueue", "rash"):
        assert cluster.held(name) == ""
    assert cluster.held("big").startswith("1/1")


def test_a_gang_that_ran_before_goes_first(cluster: Cluster) -> None:
    cluster.pod("p", "a")
    cluster.job("urgent", 1, scheduling={"priority": 9})
    cluster.job("again", 1, status={"attempt": 1, "startTime": "2026-01-01T00:00:00Z"})
    assert cluster.held("again") == ""
    assert cluster.held("urgent").startswith("1/1")


def test_gpu_memory_is_the_smallest_of_the_nodes_that_may_be_had(cluster: Cluster) -> None:
    mebibytes = {"nvidia.com/gpu.memory": "81559"}
    for name, labels in (("a", {**mebibytes, "kind": "h"}), ("b", {"nvidia.com/gpu.memory": "40960", "kind": "a"})):
        cluster.node(name, **labels)
    strategy = {"model": {"parameters": 10}}
    cluster.job("any", 1, strategy=strategy)
    cluster.job("large", 1, strategy=strategy, pod={"nodeSelector": {"kind": "h"}})
    found = {
        name: cluster.admission.view(cluster.cache[TRAINING_JOBS].get(*Key("n", name))).gpu_bytes
        for name in ("any", "large")
    }
    assert found == {"any": 40960 * 2**20, "large": 81559 * 2**20}


def grown(cluster: Cluster, name: str) -> None:
    """All pods of a gang of two, each on a node that was made for it."""
    for index in range(2):
        cluster.node(f"new-{name}-{index}")
        cluster.pod(f"{name}-node-{index}-a0", f"new-{name}-{index}", job=name, index=index)


def test_a_pool_at_zero_nodes_is_scaled_up_for_one_gang_at_a_time() -> None:
    cluster = Cluster()
    for name in ("one", "two"):
        cluster.job(name, 2, scheduling={"scaleUp": "Pods"})
    assert cluster.held("one") == "", "an autoscaler acts on pods that are there"
    assert cluster.held("two").startswith("1/1 room for 0 of 2 pods")
    cluster.job("one", 2, status={"attemptTime": "2026-01-01T00:00:00Z", "replicaStatuses": {"desired": 2}})
    assert cluster.held("two"), "its nodes are not there yet"
    cluster.woken.clear()
    grown(cluster, "one")
    assert "two" in cluster.woken
    assert cluster.held("two") == ""


def test_the_cluster_shows_whether_it_can_grow(cluster: Cluster) -> None:
    cluster.job("auto", 9)
    cluster.job("never", 9, scheduling={"scaleUp": "Never"})
    assert cluster.held("auto")
    cluster.admission.scales_up = True
    cluster.node("a", changed="yes")
    assert cluster.held("never")
    assert cluster.held("auto") == ""


def test_a_gang_that_grows_keeps_what_room_there_is(cluster: Cluster) -> None:
    cluster.job("wide", 3, scheduling={"scaleUp": "Pods"})
    assert cluster.held("wide") == ""
    cluster.job("small", 1)
    assert cluster.held("small"), "two of the three are promised the nodes that are there"


def test_no_pods_are_made_for_an_autoscaler_that_a_quota_would_refuse(cluster: Cluster) -> None:
    quota(cluster, used=0, hard=1)
    cluster.job("wide", 3, scheduling={"scaleUp": "Pods"})
    assert "exceeded quota" in cluster.held("wide")
