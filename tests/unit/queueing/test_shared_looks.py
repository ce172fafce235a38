"""Looks at nodes that are shared lead to the decisions of a pass that looks at each node for each gang."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing import fit
from slipway.queueing.backfill import Decision, PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node, room, takes
from slipway.queueing.topology import Spread


class Plain(ClusterCapacity):
    """Remembers nothing from one question to the next."""

    def fit(self, demand: Demand) -> Any:
        self._stuck.clear()
        able = [node for node in self._nodes.values() if takes(node, demand)]
        now = {node.name: room(self._free[node.name], demand.each, apart=demand.apart) for node in able}
        most = {node.name: room(node.capacity, demand.each, apart=demand.apart) for node in able}
        rooms = {name: now[name] for name in sorted(now, key=lambda name: (now[name], name)) if now[name] > 0}
        where = SimpleNamespace(able=most)
        return SimpleNamespace(
            rooms=rooms, most=most, total=sum(rooms.values()), most_total=sum(most.values()), where=where
        )

    def knows(self, demand: Demand) -> bool:
        return True


AMOUNTS = st.fixed_dictionaries({"gpu": st.integers(0, 4), "cpu": st.integers(0, 8), "pods": st.integers(0, 4)})
TAINTS = st.sampled_from([(), ({"key": "gpu", "effect": "NoSchedule"},)])
NODES = st.lists(st.tuples(AMOUNTS, AMOUNTS, st.sampled_from("ab"), TAINTS), max_size=7)
SPREADS = st.sampled_from([(), (), (Spread("zone", 1),)])
GANGS = st.lists(
    st.builds(
        Demand,
        st.integers(1, 5),
        st.fixed_dictionaries({"gpu": st.integers(0, 2), "cpu": st.integers(0, 3)}),
        apart=st.booleans(),
        selector=st.sampled_from([{}, {}, {"zone": "a"}, {"zone": "c"}]),
        tolerations=st.sampled_from([(), ({"key": "gpu", "operator": "Exists"},)]),
        spreads=SPREADS,
    ),
    max_size=10,
)


def decision(
    kind: type[ClusterCapacity], nodes: list[Any], demands: list[Demand], growing: bool
) -> tuple[Decision, Any]:
    capacity = kind(
        Node(f"n{i}", {r: max(n, free[r]) for r, n in whole.items()}, free, {"zone": zone}, taints)
        for i, (whole, free, zone, taints) in enumerate(nodes)
    )
    gangs = [PendingGang(("n", f"{i}"), (i,), demand, grows=growing) for i, demand in enumerate(demands)]
    return decide(capacity, gangs), capacity._free


@settings(max_examples=400, deadline=None)
@given(NODES, GANGS, st.booleans())
def test_decisions_are_those_of_a_pass_that_shares_nothing(nodes, demands, growing) -> None:
    assert decision(ClusterCapacity, nodes, demands, growing) == decision(Plain, nodes, demands, growing)


STEPS = st.lists(st.tuples(st.integers(0, 4), st.none() | st.tuples(AMOUNTS, AMOUNTS, st.sampled_from("ab"), TAINTS)))


@settings(max_examples=200, deadline=None)
@given(STEPS, st.lists(GANGS, min_size=1, max_size=3))
def test_a_floor_that_is_kept_is_as_one_that_is_made_anew(steps: list[Any], rounds: list[list[Demand]]) -> None:
    """Nodes come, go and change between decisions; each of these knows what the ones before have asked for."""
    kept = ClusterCapacity()
    there: dict[str, Node] = {}
    for number, demands in enumerate(rounds):
        for index, what in steps[number :: len(rounds)]:
            name = f"n{index}"
            if what is None:
                there.pop(name, None)
                kept.drop(name)
            else:
                whole, free, zone, taints = what
                there[name] = Node(name, {r: max(n, free[r]) for r, n in whole.items()}, free, {"zone": zone}, taints)
                kept.put(there[name])
        gangs = [PendingGang(("n", f"{i}"), (i,), demand) for i, demand in enumerate(demands)]
        floors = kept.copy(), ClusterCapacity(there.values()), Plain(there.values())
        found = [decide(capacity, gangs) for capacity in floors]
        assert found[0] == found[1] == found[2]
        assert floors[0]._free == floors[1]._free == floors[2]._free
        kept.forget(floors[0])


def test_a_decision_about_many_kinds_of_gangs_does_not_ask_each_node_for_each(monkeypatch) -> None:
    """2000 nodes, 400 gangs of 160 kinds: what is counted is sums for one node, of which a full pass takes 640,000."""
    asked = 0

    def counting(*args: Any, **more: Any) -> int:
        nonlocal asked
        asked += 1
        return room(*args, **more)

    monkeypatch.setattr(fit, "room", counting)
    whole = {"gpu": 8, "pods": 110}
    nodes = [Node(f"n{i}", whole, {"gpu": i % 9, "pods": 110}, {"host": f"{i}"}) for i in range(2000)]
    kinds = [Demand(3000, {"gpu": 1 + kind % 8, "cpu": 0, f"x{kind}": 0}) for kind in range(160)]
    gangs = [PendingGang((f"ns{i % 16}", f"{i:03}"), (i,), kinds[i % 160]) for i in range(400)]
    began = time.process_time()
    assert len(decide(ClusterCapacity(nodes), gangs).waiting) > 300
    assert asked <= 160 * 40
    assert time.process_time() - began < 10
