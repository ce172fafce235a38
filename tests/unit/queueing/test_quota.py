"""ResourceQuotas and LimitRanges as the server counts them: who starts, who waits and for what, who never can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing.backfill import Decision, PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node
from slipway.queueing.quota import PodCharge, Quotas, charge_of, defaults_of, slim_limits, slim_quota

GPU = "nvidia.com/gpu"
BIG = Node("a", {"pods": 1000, "cpu": 10**9}, {"pods": 1000, "cpu": 10**9})


def quota(used: Any = None, hard: Any = None, pods: str = "", **scope: Any) -> dict[str, Any]:
    spec = {"hard": hard or {"pods": pods}, **scope}
    body = {"metadata": {"name": "q", "namespace": "n", "uid": "u"}, "spec": spec}
    return slim_quota(body | ({"status": {"hard": spec["hard"], "used": used}} if used is not None else {}))


def gang(name: str, pods: int, charge: PodCharge = PodCharge(), namespace: str = "n") -> PendingGang:  # noqa: B008 (frozen)
    return PendingGang((namespace, name), (name,), Demand(pods, {"cpu": 1}), charge)


def run(quotas: list[dict[str, Any]], *gangs: PendingGang) -> Decision:
    return decide(ClusterCapacity([BIG]), gangs, Quotas(quotas))


def test_two_gangs_under_a_quota_of_four_pods_start_one_by_one() -> None:
    found = run([quota(pods="4", used={"pods": "0"})], gang("1", 3), gang("2", 3))
    assert found.admitted == (("n", "1"),)
    place = found.waiting["n", "2"]
    assert place.missing == "exceeded quota: q, requested: pods=3, used: pods=3, limited: pods=4"
    assert (place.short, place.never) == (True, False)


def test_a_gang_that_a_quota_can_never_hold_is_told_so_and_holds_up_nobody() -> None:
    found = run([quota(pods="4", used={"pods": "0"})], gang("1", 5), gang("2", 4))
    assert found.admitted == (("n", "2"),)
    assert found.waiting["n", "1"].never
    assert "requested: pods=5, used: pods=0, limited: pods=4" in found.waiting["n", "1"].missing
    assert "raise the quota or ask for less" in found.waiting["n", "1"].missing


def test_a_quota_is_of_its_namespace() -> None:
    found = run([quota(pods="1", used={})], gang("1", 3, namespace="other"))
    assert found.admitted == (("other", "1"),)


def test_small_gangs_do_not_overtake_a_large_one_for_ever() -> None:
    used = {"pods": "2"}
    found = run([quota(pods="4", used=used)], gang("1", 4), gang("2", 1), gang("3", 1))
    assert found.admitted == ()
    assert "kept for n/1" in found.waiting["n", "2"].missing
    found = run([quota(pods="6", used={"pods": "3"})], gang("1", 4), gang("2", 2), gang("3", 1))
    assert found.admitted == (("n", "2"),), "two pods are left beside the four, whoever ends"


def test_what_a_quota_holds_back_holds_no_room_on_nodes() -> None:
    node = Node("a", {"pods": 10, "cpu": 4}, {"pods": 10, "cpu": 4})
    gangs = [PendingGang(("n", "1"), (1,), Demand(1, {"cpu": 4})), PendingGang(("m", "2"), (2,), Demand(1, {"cpu": 4}))]
    found = decide(ClusterCapacity([node]), gangs, Quotas([quota(pods="1", used={"pods": "1"})]))
    assert found.admitted == (("m", "2"),)


ASKS = PodCharge({"cpu": 1500, "memory": 2**30, GPU: 2}, {"cpu": 2000, GPU: 2}, "high")


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"requests.cpu": "4"}, "requests.cpu=4.5"),
        ({"cpu": "4"}, "cpu=4.5"),
        ({"limits.cpu": "5"}, "limits.cpu=6"),
        ({"requests.memory": "2Gi"}, "requests.memory=3Gi"),
        ({f"requests.{GPU}": "5"}, f"requests.{GPU}=6"),
        ({"count/pods": "2"}, "count/pods=3"),
        ({"limits.memory": "100Gi"}, "must specify limits.memory"),
        ({"services": "0", "requests.storage": "0", "count/jobs.batch": "0", "pods": "3"}, ""),
        ({"requests.cpu": "4500m", "limits.cpu": "6", f"requests.{GPU}": "6"}, ""),
        ({"requests.example.com/fpga": "0"}, ""),
    ],
)  # fmt: skip
def test_what_is_counted_of_three_pods(hard: dict[str, str], words: str) -> None:
    found = Quotas([quota(hard=hard, used={})]).short("n", ASKS, 3)
    assert (words in found.words) if words else found is None, found


def test_an_entry_of_a_quota_that_pods_must_name_is_met_by_a_limitranges_default() -> None:
    entry = {"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "500m", "memory": "1Gi"}}
    pods = {"type": "Pod", "max": {"cpu": "1"}}
    ranges = slim_limits({"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": [pods, entry]}})
    assert slim_limits(ranges) == ranges
    defaults = defaults_of([ranges])["n"]
    found = charge_of({"containers": [{"name": "c"}]}, "", defaults)
    assert (found.requests, found.limits) == ({"cpu": 500, "memory": 2**30}, {"cpu": 2000})
    assert [*found.unsaid] == ["limits.memory"]
    found = charge_of({"containers": [{"name": "c", "resources": {"limits": {"cpu": "3"}}}]}, "", defaults)
    assert (found.requests, found.limits) == ({"cpu": 3000, "memory": 2**30}, {"cpu": 3000}), "the user's word counts"


def test_a_limitranges_default_is_put_into_each_container_that_is_silent() -> None:
    """Summed first, what the trainer said kept the default of the container beside it from being counted."""
    entry = {"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "500m"}}
    ranges = slim_limits({"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": [entry]}})
    own = {"name": "trainer", "resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "4", GPU: 1}}}
    spec = {"containers": [own, {"name": "a"}, {"name": "b"}], "initContainers": [{"name": "c"}]}
    found = charge_of(spec, "", defaults_of([ranges])["n"])
    assert found.requests == {"cpu": 5000, GPU: 1}
    assert found.limits == {"cpu": 8000, GPU: 1}


def test_a_quota_that_one_container_says_nothing_of_is_told_before_the_server_refuses() -> None:
    own = {"name": "trainer", "resources": {"limits": {"cpu": "4", "memory": "1Gi"}}}
    charge = charge_of({"containers": [own, {"name": "helper", "resources": {"requests": {"cpu": "1"}}}]})
    found = Quotas([quota(hard={"limits.cpu": "100", "requests.cpu": "100"}, used={})]).short("n", charge, 1)
    assert found is not None
    assert found.never
    assert "must specify limits.cpu for: helper in " in found.words
    assert Quotas([quota(hard={"requests.cpu": "100"}, used={})]).short("n", charge, 1) is None


SCOPED = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["NotBestEffort"]}, True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, False),
        ({"scopeSelector": {"matchExpressions": [SCOPED]}}, True),
        ({"scopeSelector": {"matchExpressions": [SCOPED | {"values": ["low"]}]}}, False),
        ({"scopeSelector": {"matchExpressions": [SCOPED | {"operator": "NotIn"}]}}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}, True),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, False),
    ],
)  # fmt: skip
def test_a_quota_counts_pods_in_its_scopes_alone(scope: dict[str, Any], counts: bool) -> None:
    found = Quotas([quota(hard={"pods": "2"}, used={}, **scope)]).short("n", ASKS, 3)
    assert (found is not None) == counts


def test_thin_quotas_stay_as_they_are() -> None:
    hard = {"pods": "2", "cpu": "1500m", "requests.memory": "1Gi"}
    thin = quota(hard=hard, used={"pods": "1"}, scopes=["BestEffort"])
    assert thin["spec"]["hard"] == {"pods": 2, "cpu": 1500, "requests.memory": 2**30}
    assert slim_quota(thin) == thin


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 8), st.data())
def test_nobody_starves_under_a_quota_and_it_is_never_exceeded(sizes, hard, strangers, data) -> None:
    """Gangs start, end in any order, and the largest that can be had at all has its turn."""
    strangers = min(strangers, hard)
    left = {f"{number}": size for number, size in enumerate(sizes)}
    running: dict[str, int] = {}
    while left:
        used = strangers + sum(running.values())
        waiting = [gang(name, size) for name, size in left.items()]
        found = run([quota(hard={"pods": str(hard)}, used={"pods": str(used)})], *waiting)
        for _, name in found.admitted:
            running[name] = left.pop(name)
        assert strangers + sum(running.values()) <= hard
        possible = [name for name, size in left.items() if size <= hard]
        if not running and not found.admitted:
            assert strangers or not possible
            return
        if running:
            del running[data.draw(st.sampled_from(sorted(running)))]
