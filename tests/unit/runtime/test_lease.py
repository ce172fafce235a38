"""Leader election in virtual time: clocks disagree, requests get lost, late, or applied unseen. Never two leaders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.runtime.lease import Times
from tests.unit.runtime.effort import examples
from tests.unit.runtime.lease_world import OK, LeaseServer, Process, Wire
from tests.unit.runtime.virtual import run_virtually

FATE = st.tuples(
    st.sampled_from([0.01, 0.5, 3.0, 9.0, 14.0, 30.0]), st.sampled_from([0.01, 0.5, 4.0, 11.0]), st.booleans()
)
BAD_TIMES = st.lists(st.one_of(st.just(OK), FATE), min_size=1, max_size=40)
RATES = st.sampled_from([0.85, 0.95, 1.0, 1.05, 1.15])
OFFSETS = st.sampled_from([0.0, 7.5, 100_000.0])


@given(data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_never_two_leaders_and_always_one_in_the_end(data: st.DataObject) -> None:
    server = LeaseServer()
    processes: list[Process] = []
    histories = [data.draw(BAD_TIMES) for _ in range(3)]
    calm = False

    def fates(number: int) -> Callable[[], tuple[float, float, bool]]:
        rest = iter(histories[number])
        return lambda: OK if calm else next(rest, OK)

    def at_most_one() -> None:
        leaders = [p.name for p in processes if p.lease.leading()]
        assert len(leaders) <= 1, leaders

    def launch(number: int) -> None:
        process = Process(f"p{number}", Wire(server, fates(number)), data.draw(OFFSETS), data.draw(RATES))
        processes.append(process)
        process.start()

    async def story() -> None:
        nonlocal calm
        launch(0)
        launch(1)
        await asyncio.sleep(data.draw(st.floats(0, 90)))
        victim = next((p for p in processes if p.lease.leading()), processes[0])
        if data.draw(st.booleans()):
            victim.kill()
        else:
            await victim.lease.release()
        launch(2)
        await asyncio.sleep(data.draw(st.floats(0, 90)))
        calm = True
        # 30 s until the last delayed write has landed, 18 s on the slowest clock until somebody may lead, and a try.
        await asyncio.sleep(60)
        alive = [p for p in processes if not p.lost and p is not victim]
        assert not alive or any(p.lease.leading() for p in alive), "calm for a minute, and nobody leads"

    run_virtually(story(), at_most_one)


def run_calm(story: Callable[[LeaseServer, Callable[..., Process]], Any]) -> None:
    """A story without faults, given a server and a maker of processes."""
    server = LeaseServer()

    def make(name: str, fate: tuple[float, float, bool] = OK) -> Process:
        return Process(name, Wire(server, lambda: fate), 0.0, 1.0)

    run_virtually(story(server, make))


def test_one_leader_renews_every_two_seconds_with_one_request_each() -> None:
    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        process = make("a")
        process.start()
        await asyncio.sleep(60)
        assert process.lease.leading()
        assert 28 <= server.writes <= 31
        assert server.record is not None
        assert server.record["spec"]["holderIdentity"] == "a"
        assert server.record["spec"]["leaseTransitions"] == 0

    run_calm(story)


def test_a_released_lease_changes_hands_within_three_seconds() -> None:
    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        first, second = make("a"), make("b")
        first.start()
        await asyncio.sleep(1)
        second.start()
        await asyncio.sleep(30)
        await first.lease.release()
        assert not first.lease.leading()
        await asyncio.sleep(3)
        assert second.lease.leading()
        assert server.record is not None
        assert server.record["spec"]["leaseTransitions"] == 1
        await asyncio.sleep(20)
        assert not first.lease.leading()

    run_calm(story)


def test_a_release_waits_for_a_renewal_under_way_and_hold_does_not_call_it_a_loss() -> None:
    """The process exits at once when `hold` returns: that must not cut the release short."""

    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        process = make("a", (0.3, 0.3, False))
        process.start()
        await asyncio.sleep(10)
        for _ in range(400):
            if process.wire.flying:
                break
            await asyncio.sleep(0.01)
        await process.lease.release()
        assert server.record is not None
        assert server.record["spec"]["holderIdentity"] == ""
        await asyncio.sleep(30)
        assert not process.lost
        assert server.record["spec"]["holderIdentity"] == ""

    run_calm(story)


def test_after_a_kill_the_standby_leads_within_twenty_seconds_and_not_before_ten() -> None:
    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        first, second = make("a"), make("b")
        first.start()
        await asyncio.sleep(1)
        second.start()
        await asyncio.sleep(30)
        first.kill()
        await asyncio.sleep(10)
        assert not second.lease.leading()
        await asyncio.sleep(10)
        assert second.lease.leading()

    run_calm(story)


def test_a_stuck_process_stops_leading_by_its_clock_alone() -> None:
    """No coroutine runs in between: only the look at the clock says so."""

    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        process = make("a")
        process.start()
        await asyncio.sleep(1)
        assert process.lease.seconds_left() == pytest.approx(9, abs=0.1)
        process.offset += 10
        assert process.lease.seconds_left() < 0
        assert not process.lease.leading()
        await asyncio.sleep(5)
        assert process.lost

    run_calm(story)


def test_a_late_answer_makes_the_lease_no_longer() -> None:
    """The ten seconds count from before the renewal was sent: the others' fifteen may have begun with its arrival."""

    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        process = make("a")
        fates = iter([OK])
        process.wire.fates = lambda: next(fates, (0.01, 4.0, False))
        process.start()
        await asyncio.sleep(4.1)
        assert process.lease.seconds_left() == pytest.approx(6, abs=0.2)

    run_calm(story)


def test_hold_returns_in_time_when_the_server_hangs() -> None:
    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        process = make("a")
        process.start()
        await asyncio.sleep(1)
        process.wire.fates = lambda: (1000.0, 0.0, False)
        await asyncio.sleep(10.5)
        assert process.lost

    run_calm(story)


def test_a_lease_deleted_under_the_leader_is_made_again_and_not_stolen() -> None:
    async def story(server: LeaseServer, make: Callable[..., Process]) -> None:
        first, second = make("a"), make("b")
        first.start()
        await asyncio.sleep(1)
        second.start()
        await asyncio.sleep(5)
        server.record = None
        await asyncio.sleep(5)
        assert (first.lease.leading(), second.lease.leading()) == (True, False)
        assert server.record is not None

    run_calm(story)


def test_unsafe_times_are_refused() -> None:
    with pytest.raises(ValueError, match="safe"):
        Times(duration=10, renew_deadline=10)
