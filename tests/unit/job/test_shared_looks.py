"""Looks at nodes that are shared lead to the decisions of a pass that looks at each node for each gang."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing import cluster_capacity
from slipway.queueing.backfill import Decision, Waiting, decide
from slipway.queueing.cluster_capacity import Demand, Floor, Node, room, takes
from slipway.queueing.topology import Spread


class Plain(Floor):
    """Remembers nothing from one question to the next."""

    def fit(self, demand: Demand) -> Any:
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

    def _refresh(self, names: Any) -> None:
        """Nothing is remembered."""


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


def decision(kind: type[Floor], nodes: list[Any], demands: list[Demand], growing: bool) -> tuple[Decision, Any]:
    floor = kind(
        Node(f"n{i}", {r: max(n, free[r]) for r, n in whole.items()}, free, {"zone": zone}, taints)
        for i, (whole, free, zone, taints) in enumerate(nodes)
    )
    gangs = [Waiting(("n", f"{i}"), (i,), demand, grows=growing) for i, demand in enumerate(demands)]
    return decide(floor, gangs), floor._free


@settings(max_examples=400, deadline=None)
@given(NODES, GANGS, st.booleans())
def test_decisions_are_those_of_a_pass_that_shares_nothing(nodes, demands, growing) -> None:
    assert decision(Floor, nodes, demands, growing) == decision(Plain, nodes, demands, growing)


def test_a_decision_about_many_kinds_of_gangs_does_not_ask_each_node_for_each(monkeypatch) -> None:
    """2000 nodes, 400 gangs of 160 kinds: what is counted is sums for one node, of which a full pass takes 640,000."""
    asked = 0

    def counting(*args: Any, **more: Any) -> int:
        nonlocal asked
        asked += 1
        return room(*args, **more)

    monkeypatch.setattr(cluster_capacity, "room", counting)
    whole = {"gpu": 8, "pods": 110}
    nodes = [Node(f"n{i}", whole, {"gpu": i % 9, "pods": 110}, {"host": f"{i}"}) for i in range(2000)]
    kinds = [Demand(3000, {"gpu": 1 + kind % 8, "cpu": 0, f"x{kind}": 0}) for kind in range(160)]
    gangs = [Waiting((f"ns{i % 16}", f"{i:03}"), (i,), kinds[i % 160]) for i in range(400)]
    began = time.process_time()
    assert len(decide(Floor(nodes), gangs).waiting) > 300
    assert asked <= 160 * 40
    assert time.process_time() - began < 10
