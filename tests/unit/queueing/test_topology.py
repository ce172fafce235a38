"""topologySpread with DoNotSchedule: what fits, against every placement and against a scheduler's own order."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing.backfill import PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node
from slipway.queueing.topology import CandidateNode, Spread, spread_out

ZONE, RACK, HOST = "topology.kubernetes.io/zone", "rack", "kubernetes.io/hostname"


@st.composite
def clusters(draw: st.DrawFn) -> list[CandidateNode]:
    """Up to five nodes, in racks of one zone each; some are full, some have pods of the gang already."""
    sites = []
    for number in range(draw(st.integers(1, 5))):
        rack = draw(st.integers(0, 2))
        path = ("ab"[rack % 2], f"rack-{rack}", f"n{number}")
        sites.append(CandidateNode(f"n{number}", path, draw(st.integers(0, 4)), draw(st.sampled_from([0, 0, 0, 1]))))
    return sites


def seen_by(sites: Sequence[CandidateNode], levels: Sequence[int]) -> list[CandidateNode]:
    return [
        CandidateNode(site.name, tuple(site.path[level] for level in levels), site.room, site.there) for site in sites
    ]


def in_order(sites: Sequence[CandidateNode], spreads: Sequence[Spread], placed: Mapping[str, int]) -> bool:
    """Whether no domain has too many more than another, counted anew from nothing but the placement."""
    for level, spread in enumerate(spreads):
        pods = Counter({site.path[level]: 0 for site in sites})
        for site in sites:
            pods[site.path[level]] += site.there + placed.get(site.name, 0)
        if max(pods.values()) - min(pods.values()) > spread.skew:
            return False
    return True


def some_placement(sites: Sequence[CandidateNode], spreads: Sequence[Spread], count: int) -> bool:
    """Try all."""
    for pods in itertools.product(*(range(site.room + 1) for site in sites)):
        placed = {site.name: number for site, number in zip(sites, pods, strict=True)}
        if sum(pods) == count and in_order(sites, spreads, placed):
            return True
    return False


LEVELS = st.sets(st.sampled_from([0, 1, 2]), min_size=1).map(list)


@settings(max_examples=400, deadline=None)
@given(clusters(), LEVELS, st.lists(st.integers(1, 3), min_size=3, max_size=3), st.integers(1, 8), st.randoms())
def test_a_gang_is_spread_exactly_when_some_placement_is_in_order(sites, levels, skews, count, dice) -> None:
    dice.shuffle(levels)
    spreads, shown = [Spread(str(level), skews[level]) for level in levels], seen_by(sites, levels)
    placed = spread_out(shown, spreads, count)
    assert (placed is not None) == some_placement(shown, spreads, count)
    if placed is not None:
        assert sum(placed.values()) == count
        assert all(placed.get(site.name, 0) <= site.room for site in sites)
        assert in_order(shown, spreads, placed)


@settings(max_examples=300, deadline=None)
@given(clusters(), st.sampled_from([0, 1, 2]), st.integers(1, 3), st.integers(1, 8), st.integers(0, 1000))
def test_whatever_order_the_scheduler_binds_them_in_all_find_a_place(sites, level, skew, count, seed) -> None:
    """Kubernetes looks at one pod at a time, and knows nothing of those that come: it must not get stuck half-way."""
    sites = [CandidateNode(site.name, site.path, site.room) for site in seen_by(sites, [level])]
    if spread_out(sites, [Spread("k", skew)], count) is None:
        return
    dice, pods = random.Random(seed), Counter({site.path[0]: 0 for site in sites})
    left = {site.name: site.room for site in sites}
    for _ in range(count):
        able = [s for s in sites if left[s.name] and pods[s.path[0]] + 1 - min(pods.values()) <= skew]
        assert able, f"stuck at {pods}"
        chosen = dice.choice(able)
        left[chosen.name] -= 1
        pods[chosen.path[0]] += 1


def node(name: str, free: int, capacity: int = 4, **labels: str) -> Node:
    named = {HOST: name} | {{"zone": ZONE}.get(key, key): value for key, value in labels.items()}
    return Node(name, {"gpu": capacity, "pods": 9}, {"gpu": free, "pods": 9}, named)


def gang(key: str, count: int, *spreads: Spread) -> PendingGang:
    return PendingGang(key, (key,), Demand(count, {"gpu": 1}, spreads=spreads))


def test_a_lopsided_cluster_takes_the_gang_only_without_the_spread() -> None:
    """The gang was let in, its last pods stayed Pending, and the others waited for them on the GPUs that they held."""
    nodes = [node("n1", 4, zone="a"), node("n2", 4, zone="a"), node("n3", 1, zone="b")]
    assert decide(ClusterCapacity(nodes), [gang("1", 6)]).admitted == ("1",)
    found = decide(ClusterCapacity(nodes), [gang("1", 6, Spread(ZONE, 1)), gang("2", 1)])
    assert found.waiting["1"].missing == (
        f"room for 9 of 6 pods that each ask for 1 gpu, but not with maxSkew 1 over {ZONE}: b has room for 1"
    )
    assert found.admitted == ("2",), "beside what is kept for it there is room"
    assert decide(ClusterCapacity(nodes), [gang("1", 3, Spread(ZONE, 1))]).admitted == ("1",)


def test_room_is_kept_where_the_gang_can_be_spread() -> None:
    nodes = [node("n1", 4, zone="a"), node("n2", 0, zone="b")]
    found = decide(ClusterCapacity(nodes), [gang("1", 4, Spread(ZONE, 1)), gang("2", 3)])
    assert found.admitted == (), "two places in zone a are kept, and two are too few for the second gang"
    assert decide(ClusterCapacity(nodes), [gang("1", 4, Spread(ZONE, 1)), gang("2", 2)]).admitted == ("2",)


def test_what_no_cluster_state_can_spread_is_told_and_holds_up_nobody() -> None:
    nodes = [node("n1", 4, zone="a"), node("n2", 1, capacity=1, zone="b")]
    found = decide(ClusterCapacity(nodes), [gang("1", 5, Spread(ZONE, 2)), gang("2", 4)])
    assert "too many even for the nodes' whole capacity" in found.waiting["1"].missing
    assert found.admitted == ("2",)


def test_nodes_without_the_label_take_none_of_its_pods() -> None:
    found = decide(ClusterCapacity([node("n1", 4)]), [gang("1", 1, Spread(ZONE, 1))])
    assert found.waiting["1"].missing.endswith(f"tolerations and has label {ZONE}")


def test_two_labels_that_only_together_are_too_much() -> None:
    """Zone a has one node: two pods more there than on each of b's."""
    nodes = [node("n1", 4, zone="a"), *(node(f"m{i}", 4, zone="b") for i in range(4))]
    spreads = (Spread(ZONE, 1), Spread(HOST, 1))
    (place,) = decide(ClusterCapacity(nodes), [gang("1", 6, *spreads)]).waiting.values()
    assert f"but not with maxSkew over {ZONE} and {HOST} at once" in place.missing
    assert decide(ClusterCapacity(nodes), [gang("1", 3, *spreads)]).admitted == ("1",)


def test_labels_that_cross_each_other_hold_nobody_up() -> None:
    nodes = [node(f"{z}{r}", 1, zone=z, rack=r) for z, r in ("ax", "ay", "bx", "by")]
    assert decide(ClusterCapacity(nodes), [gang("1", 4, Spread(ZONE, 1), Spread(RACK, 1))]).admitted == ("1",)


def test_pods_that_are_there_already_count() -> None:
    nodes = [node("n1", 4, zone="a"), node("n2", 4, zone="b")]
    demand = Demand(3, {"gpu": 1}, spreads=(Spread(ZONE, 1),), there={"n1": 2})
    assert ClusterCapacity(nodes).pack(demand) == {"n1": 1, "n2": 2}


def test_a_thousand_nodes_in_three_zones() -> None:
    nodes = [node(f"n{i}", 4, zone="abc"[i % 3]) for i in range(1000)]
    placed = ClusterCapacity(nodes).pack(Demand(256, {"gpu": 1}, spreads=(Spread(ZONE, 1), Spread(HOST, 1))))
    assert placed is not None
    assert max(placed.values()) == 1
    zones = Counter("abc"[int(name[1:]) % 3] for name in placed)
    assert sorted(zones.values()) == [85, 85, 86]
