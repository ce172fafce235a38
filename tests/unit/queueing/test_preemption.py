"""Which gangs give way: enough, none too many, only lower ones, the lowest and the newest first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing.backfill import PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node
from slipway.queueing.preemption import Preemptions, Running, RunningGangs

GPU = "nvidia.com/gpu"


def full(*names: str, gpus: int = 4) -> list[Node]:
    """Nodes on which everything is taken."""
    return [Node(name, {GPU: gpus, "pods": 9}, {GPU: 0, "pods": 9}) for name in names]


def runs(name: str, priority: int, since: str, **gpus: int) -> Running:
    return Running(("n", name), priority, since, {node: {GPU: number, "pods": 1} for node, number in gpus.items()})


def wants(pods: int, gpus: int = 4, priority: int = 10, *, preempts: bool = True, name: str = "urgent") -> PendingGang:
    demand = Demand(pods, {GPU: gpus})
    return PendingGang(("n", name), (-priority, name), demand, preempts=preempts, priority=priority)


def decided(nodes: list[Node], running: list[Running], *gangs: PendingGang, leaving=None):
    return decide(ClusterCapacity(nodes), gangs, contest=Preemptions(lambda: RunningGangs(running, leaving or {})))


def test_the_lowest_gives_way_and_of_equals_the_newest() -> None:
    running = [runs("old", 0, "1", a=4), runs("new", 0, "2", b=4), runs("middle", 5, "3", c=4)]
    found = decided(full("a", "b", "c"), running, wants(1))
    assert found.admitted == ()
    assert found.victims == {("n", "new"): "n/urgent"}
    assert "n/new of lower priority give way" in found.waiting["n", "urgent"].missing
    assert set(decided(full("a", "b", "c"), running, wants(2)).victims) == {("n", "new"), ("n", "old")}


def test_nobody_of_the_same_or_a_higher_priority_gives_way() -> None:
    running = [runs("equal", 10, "1", a=4), runs("higher", 20, "1", b=4)]
    assert decided(full("a", "b"), running, wants(1)).victims == {}


def test_nobody_gives_way_where_that_would_not_help() -> None:
    running = [runs("low", 0, "1", a=4), runs("equal", 10, "1", b=4)]
    assert decided(full("a", "b"), running, wants(2)).victims == {}, "one of two nodes is of no use"


def test_nobody_gives_way_to_who_does_not_ask_for_it() -> None:
    assert decided(full("a"), [runs("low", 0, "1", a=4)], wants(1, preempts=False)).victims == {}


def test_whole_gangs_give_way_and_only_those_that_are_needed() -> None:
    running = [runs("small", 0, "9", a=1), runs("wide", 1, "1", a=3, b=4)]
    found = decided(full("a", "b"), running, wants(1))
    assert set(found.victims) == {("n", "wide")}, "node b alone is enough, so the small one stays"


def test_what_is_going_already_is_waited_for() -> None:
    running = [runs("low", 0, "1", a=4)]
    found = decided(full("a", "b"), running, wants(1), leaving={"b": {GPU: 4, "pods": 1}})
    assert found.victims == {}
    assert "pods that are going make room" in found.waiting["n", "urgent"].missing


def test_the_room_that_is_made_is_nobody_elses() -> None:
    nodes = [Node("a", {GPU: 4, "pods": 9}, {GPU: 1, "pods": 9})]
    found = decided(nodes, [runs("low", 0, "1", a=3)], wants(1), wants(1, 1, 0, preempts=False, name="small"))
    assert found.admitted == ()
    assert set(found.victims) == {("n", "low")}


def test_one_gang_at_a_time_is_made_room_for() -> None:
    running = [runs("low", 0, "1", a=4), runs("lower", -1, "1", b=4)]
    found = decided(full("a", "b"), running, wants(1), wants(1, name="next"))
    assert set(found.victims) == {("n", "lower")}


GANGS = st.lists(st.tuples(st.integers(0, 3), st.dictionaries(st.sampled_from("abc"), st.integers(1, 2))), max_size=3)


@settings(max_examples=200, deadline=None)
@given(GANGS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_victims_are_enough_and_not_one_could_stay(gangs, pods, each, priority) -> None:
    running = [runs(f"{i}", value, f"{i}", **held) for i, (value, held) in enumerate(gangs) if held]
    used = {name: sum(r.held.get(name, {}).get(GPU, 0) for r in running) for name in "abc"}
    # No node has more than three gangs with two each.
    capacity = 6
    nodes = [Node(n, {GPU: capacity, "pods": 99}, {GPU: capacity - used[n], "pods": 90}) for n in "abc"]
    demand = Demand(pods, {GPU: each})

    def fits(without: set) -> bool:
        floor = ClusterCapacity(nodes)
        for gang in running:
            if gang.key in without:
                floor.give_back(gang.held)
        return floor.pack(demand) is not None

    found = decided(nodes, running, wants(pods, each, priority))
    lower = {gang.key for gang in running if gang.priority < priority}
    victims = set(found.victims)
    assert victims <= lower
    if fits(set()):
        assert found.admitted
        assert not victims
    elif victims:
        assert fits(victims)
        assert not any(fits(victims - {key}) for key in victims)
    else:
        assert not fits(lower)
