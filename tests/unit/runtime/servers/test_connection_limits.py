"""Who is let in and who has to go: the rules over any order of events, without sockets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slipway.runtime.connections.limits import Limits, Reason, Table
from slipway.runtime.rate import Budget

ROOMY = Limits(total=6, per_peer=3, per_second=1e6, burst=1e6, seldom_per_second=1e6, seldom_burst=1e6)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hall:
    """A table, and what is open in it by our own books."""

    def __init__(self, limits: Limits = ROOMY) -> None:
        self.clock = Clock()
        self.table: Table[int] = Table(limits, self.clock)
        self.open: dict[int, str] = {}
        self._number = 0

    def come(self, peer: str) -> tuple[Reason | None, Reason | None]:
        verdict = self.table.admit(peer)
        if verdict.refused is None:
            if verdict.ousted is not None:
                del self.open[verdict.ousted]
            self._number += 1
            self.table.enter(peer, self._number)
            self.open[self._number] = peer
        return verdict.refused, verdict.why

    def of(self, peer: str) -> list[int]:
        return [number for number, whose in self.open.items() if whose == peer]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=60))
def test_no_order_of_events_exceeds_the_limits_or_refuses_a_newcomer(events: list[tuple[str, bool]]) -> None:
    hall = Hall()
    for peer, comes in events:
        if comes or not hall.of(peer):
            assert hall.come(peer)[0] is None, "nobody is refused for want of room"
            assert hall.of(peer), "who was let in last is not the one to go"
        else:
            number = hall.of(peer)[0]
            hall.table.leave(peer, number)
            hall.table.leave(peer, number)
            del hall.open[number]
        assert len(hall.table) == len(hall.open) <= ROOMY.total
        assert all(len(hall.of(peer)) <= ROOMY.per_peer for peer in "abcde")


def test_a_peer_that_has_all_its_places_loses_its_own_oldest() -> None:
    hall = Hall()
    hall.come("honest")
    for _ in range(3):
        assert hall.come("flood") == (None, None)
    assert hall.come("flood") == (None, Reason.PEER_CONNECTIONS)
    assert hall.of("honest") == [1]
    assert hall.of("flood") == [3, 4, 5]


def test_when_all_places_are_taken_who_has_most_gives_one() -> None:
    hall = Hall()
    for peer in ("one", "flood", "flood", "flood", "two", "two"):
        hall.come(peer)
    assert hall.come("newcomer") == (None, Reason.ALL_CONNECTIONS)
    assert [len(hall.of(peer)) for peer in ("one", "flood", "two", "newcomer")] == [1, 2, 2, 1]


def test_a_flood_that_changes_its_address_still_leaves_a_newcomer_in() -> None:
    hall = Hall()
    for number in range(1000):
        hall.come(f"address {number}")
    assert hall.come("honest")[0] is None
    assert len(hall.table) == 6


def test_who_comes_too_often_is_refused_and_others_are_not() -> None:
    hall = Hall(Limits(per_second=1, burst=2))
    assert [hall.come("flood")[0] for _ in range(3)] == [None, None, Reason.PEER_RATE]
    assert hall.come("honest")[0] is None
    hall.clock.now = 1.0
    assert hall.come("flood")[0] is None


def test_with_the_loops_time_half_spent_only_those_come_in_who_seldom_do() -> None:
    limits = Limits(seldom_per_second=0.1, seldom_burst=2, loop_share=0.2, saved_seconds=5)
    hall = Hall(limits)
    assert [hall.come("flood")[0] for _ in range(3)] == [None] * 3
    hall.table.spend(0.6)
    assert hall.come("flood")[0] is Reason.LOOP_SHARE
    assert hall.come("honest")[0] is None
    hall.table.spend(0.6)
    assert hall.come("another")[0] is Reason.LOOP_SHARE, "the share is a bound, whoever comes"
    hall.clock.now = 2.0
    assert hall.come("a third")[0] is None
    assert hall.come("flood")[0] is Reason.LOOP_SHARE


def test_a_budget_is_saved_up_to_a_limit_and_may_be_overdrawn() -> None:
    clock = Clock()
    budget = Budget(0.5, 2, clock=clock)
    clock.now = 100.0
    assert budget.level == 2
    budget.spend(5)
    assert budget.level == -3
    clock.now = 108.0
    assert budget.level == 1
