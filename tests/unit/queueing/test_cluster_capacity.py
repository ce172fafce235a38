"""Gangs and nodes: what fits, against every possible placement; who starts, and that nobody waits for ever."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing.backfill import PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node, room, takes
from slipway.queueing.resources import amounts, pod_requests, slim_footprint, slim_node, usable

GPU = "nvidia.com/gpu"


def node(name: str, **free: int) -> Node:
    free.setdefault("pods", 10)
    return Node(name, dict(free), dict(free))


def brute_force(frees: list[dict[str, int]], demand: Demand) -> bool:
    """Try every way to put each pod on some node."""
    for places in itertools.product(range(len(frees)), repeat=demand.count):
        left = [dict(free) for free in frees]
        for place in places:
            for resource, amount in {**demand.each, "pods": 1}.items():
                left[place][resource] = left[place].get(resource, 0) - amount
        if all(amount >= 0 for free in left for amount in free.values()):
            return True
    return demand.count == 0


FREE = st.fixed_dictionaries({"cpu": st.integers(0, 8), "gpu": st.integers(0, 4), "pods": st.integers(0, 5)})
EACH = st.fixed_dictionaries({"cpu": st.integers(0, 4), "gpu": st.integers(0, 3)})


@settings(max_examples=200, deadline=None)
@given(st.lists(FREE, max_size=3), EACH, st.integers(1, 5))
def test_a_gang_fits_exactly_when_some_placement_of_its_pods_does(frees, each, count) -> None:
    nodes = [Node(f"n{i}", free, free) for i, free in enumerate(frees)]
    demand = Demand(count, each)
    floor = ClusterCapacity(nodes)
    other = Demand(1, {"cpu": 1})
    floor.fit(other)
    placed = floor.pack(demand)
    assert (placed is not None) == (bool(frees) and brute_force(frees, demand))
    if placed is not None:
        assert sum(placed.values()) == count
        floor.take(placed, each)
        for before in nodes:
            taken = placed.get(before.name, 0)
            left = {r: a - taken * {**each, "pods": 1}.get(r, 0) for r, a in before.free.items()}
            for asked in (demand, other):
                assert floor.fit(asked).rooms.get(before.name, 0) == room(left, asked.each)
        assert floor.fit(other).total == sum(floor.fit(other).rooms.values())


_above_40 = {"matchExpressions": [{"key": "mem", "operator": "Gt", "values": ["40"]}]}


@pytest.mark.parametrize(
    ("labels", "taints", "demand", "expected"),
    [
        ({"zone": "a"}, [], {"selector": {"zone": "a"}}, True),
        ({"zone": "b"}, [], {"selector": {"zone": "a"}}, False),
        ({}, [{"key": "gpu", "effect": "NoSchedule"}], {}, False),
        ({}, [{"key": "gpu", "effect": "PreferNoSchedule"}], {}, True),
        ({}, [{"key": "gpu", "effect": "NoSchedule"}], {"tolerations": ({"operator": "Exists"},)}, True),
        (
            {},
            [{"key": "gpu", "value": "a", "effect": "NoSchedule"}],
            {"tolerations": ({"key": "gpu", "operator": "Equal", "value": "b"},)},
            False,
        ),
        (
            {},
            [{"key": "gpu", "value": "a", "effect": "NoExecute"}],
            {"tolerations": ({"key": "gpu", "value": "a", "effect": "NoExecute"},)},
            True,
        ),
        ({"mem": "80"}, [], {"terms": (_above_40,)}, True),
        ({"mem": "x"}, [], {"terms": (_above_40,)}, False),
        ({}, [], {"terms": ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},)}, True),
        ({"a": "b"}, [], {"terms": ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]},)}, False),
    ],
)  # fmt: skip
def test_which_nodes_take_the_pods(labels, taints, demand, expected) -> None:
    assert takes(Node("n", {}, {}, labels, tuple(taints)), Demand(1, {}, **demand)) == expected


def waiting(key: str, count: int, gpus: int, priority: int = 0) -> PendingGang:
    return PendingGang(key, (-priority, key), Demand(count, {GPU: gpus}))


def test_pods_that_take_a_port_of_the_node_go_one_to_each() -> None:
    floor = ClusterCapacity(Node(name, {"cpu": 8, "pods": 9}, {"cpu": 8, "pods": 9}) for name in "ab")
    assert floor.pack(Demand(2, {"cpu": 1}, apart=True)) == {"a": 1, "b": 1}
    assert floor.pack(Demand(3, {"cpu": 1}, apart=True)) is None
    assert floor.keep(Demand(3, {"cpu": 1}, apart=True)) is None, "nor ever"
    assert floor.pack(Demand(3, {"cpu": 1})) is not None
    floor.take({"a": 1}, {"cpu": 8})
    assert floor.fit(Demand(2, {"cpu": 1}, apart=True)).total == 1


def test_priority_then_age() -> None:
    nodes = [node("a", **{GPU: 4})]
    gangs = [waiting("1", 1, 4), waiting("2", 1, 4), waiting("3", 1, 4, priority=5)]
    found = decide(ClusterCapacity(nodes), gangs)
    assert found.admitted == ("3",)
    assert {key: place.position for key, place in found.waiting.items()} == {"1": 1, "2": 2}


def test_a_small_gang_fills_a_gap_but_not_at_the_large_ones_expense() -> None:
    busy = Node("a", {GPU: 8, "pods": 10}, {GPU: 4, "pods": 10})
    nodes = [busy, node("b", **{GPU: 8})]
    large, small = waiting("1", 2, 8), waiting("2", 1, 4)
    assert decide(ClusterCapacity(nodes), [large, small]).admitted == (), (
        "node b is kept whole, a's rest is the large one's, too"
    )
    spare = [*nodes, node("c", **{GPU: 4})]
    found = decide(ClusterCapacity(spare), [large, small])
    assert found.admitted == ("2",)
    assert found.waiting["1"].missing == "room for 1 of 2 pods that each ask for 8 nvidia.com/gpu"


def test_a_gang_that_can_never_fit_holds_up_nobody_and_is_told_so() -> None:
    found = decide(ClusterCapacity([node("a", **{GPU: 4})]), [waiting("1", 1, 8), waiting("2", 1, 4)])
    assert found.admitted == ("2",)
    assert "too many even for the nodes' whole capacity" in found.waiting["1"].missing
    found = decide(ClusterCapacity([]), [waiting("1", 1, 8)])
    assert "no ready node passes" in found.waiting["1"].missing


def test_who_waits_behind_is_told_for_whom_the_room_is_kept() -> None:
    busy = Node("a", {GPU: 8, "pods": 10}, {GPU: 4, "pods": 10})
    found = decide(ClusterCapacity([busy]), [waiting("1", 1, 8), waiting("2", 1, 4)])
    assert found.waiting["2"].missing.startswith("room for 0 of 1 pods")
    assert "kept for 1, which is before it" in found.waiting["2"].missing


JOBS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(JOBS, st.integers(1, 3), st.integers(1, 3))
def test_nobody_starves_and_nothing_is_promised_twice(jobs, count, large) -> None:
    """Small jobs keep coming, before and after a large one. It starts before anyone who came when its room was kept."""
    capacity = {GPU: 4, "pods": 10}
    names = ["a", "b", "c"]
    gangs = {f"{i:03}": Demand(min(n, 3), {GPU: g}) for i, (n, g, _) in enumerate(jobs)}
    lasts = {f"{i:03}": t for i, (_, _, t) in enumerate(jobs)}
    gangs["large"], lasts["large"] = Demand(3, {GPU: 4}), large
    order = {key: (-(key == "large"), key) for key in gangs}
    running: dict[str, tuple[dict[str, int], int]] = {}
    left = dict(gangs)
    for now in range(1, 400):
        running = {key: (placed, end) for key, (placed, end) in running.items() if end > now}
        used = {
            name: sum(placed.get(name, 0) * gangs[k].each[GPU] for k, (placed, _) in running.items()) for name in names
        }
        nodes = [Node(name, capacity, {GPU: 4 - used[name], "pods": 10}) for name in names]
        arrived = [PendingGang(k, order[k], d) for k, d in left.items() if k == "large" or int(k) <= now * count]
        if now == 1:
            arrived = [gang for gang in arrived if gang.key != "large"]
        floor = ClusterCapacity(nodes)
        for key in decide(ClusterCapacity(nodes), arrived).admitted:
            demand = left.pop(str(key))
            placed = floor.pack(demand)
            assert placed is not None, "let in without room"
            floor.take(placed, demand.each)
            running[str(key)] = (placed, now + lasts[str(key)])
        if "large" in left and now > 1:
            assert now <= 1 + max(lasts.values()), "whoever ran when its room was kept has ended, and it still waits"
        if not left:
            return
    raise AssertionError(f"never started: {sorted(left)}")


def test_requests_as_the_scheduler_counts_them() -> None:
    spec = {
        "initContainers": [{"resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}],
        "containers": [
            {"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", GPU: "2"}}},
            {"resources": {"limits": {"memory": "2Gi"}}},
        ],
        "overhead": {"cpu": "250m"},
    }
    assert pod_requests({"spec": spec}) == {"cpu": 3250, "memory": 2 * 2**30, GPU: 2}
    assert amounts({"cpu": "1.5", "memory": "1500m"}) == {"cpu": 1500, "memory": 2}


def pod(managed: bool):
    labels = {"slipway.dev/managed": "true", "x": "y"} if managed else {"app": "other"}
    return {
        "metadata": {
            "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": labels,
            "ownerReferences": [{"uid": "o", "controller": True}], "managedFields": [1],
        },
        "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Running", "podIP": "1.2.3.4"},
    }  # fmt: skip


@pytest.mark.parametrize("managed", [True, False])
def test_of_a_strangers_pod_only_its_footprint_is_kept(managed: bool) -> None:
    thin = slim_footprint(pod(managed))
    assert thin["spec"] == {**({"nodeName": "a"} if managed else {}), "place": "a", "requests": {"cpu": 1000}}
    assert slim_footprint(thin) == thin
    assert ("podIP" in thin["status"]) == ("ownerReferences" in thin["metadata"]) == managed


def test_a_nodes_heartbeat_is_no_news() -> None:
    def beat(time: str, ready: str = "True"):
        conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": time}]
        status = {"allocatable": {"cpu": "4"}, "conditions": conditions, "images": [1]}
        return {
            "metadata": {"name": "a", "uid": "u", "resourceVersion": time},
            "spec": {"podCIDR": "x"},
            "status": status,
        }

    first, second = slim_node(beat("1")), slim_node(beat("2"))
    assert {**first, "metadata": 0} == {**second, "metadata": 0}
    assert slim_node(first) == first
    assert usable(first)
    assert not usable(slim_node(beat("1", ready="Unknown")))
    assert not usable(first | {"spec": {"unschedulable": True}})


def test_room() -> None:
    assert room({"cpu": 4000, "pods": 3}, {"cpu": 1000}) == 3
    assert room({"cpu": 4000}, {}) == 0, "every pod takes one of the node's pods"
    assert room({"cpu": 4000, "pods": 9}, {GPU: 1}) == 0
    assert replace(node("a"), free={"pods": 2}).free == {"pods": 2}
