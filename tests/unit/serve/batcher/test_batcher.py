"""The batcher's promises over thousands of scripted days: none lost, none answered twice or with another's result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.effort import examples
from tests.unit.serve.batcher.scripted import Ask, ScriptedLane, live
from tests.unit.serve.batcher.virtual_time import Stuck, run
from workloads.serve.batcher import Batcher, Limits
from workloads.serve.errors import DeadlineExceeded, EngineFailed, QueueFull

EPSILON = 1e-6


TIMES = st.floats(0, 0.5).map(lambda value: round(value, 3))
LIMITS = st.builds(
    Limits,
    max_batch_size=st.integers(3, 8),
    max_queue_size=st.integers(8, 24),
    max_queue_bytes=st.integers(8, 100),
    max_queue_delay=st.sampled_from([0.0, 0.0, 0.02]),
    default_timeout=st.sampled_from([0.1, 1.0, 10.0]),
    priority_levels=st.just(3),
    priority_step=st.sampled_from([0.05, 1.0]),
)
LANES = st.lists(st.lists(st.sampled_from([0.001, 0.01, 0.05, 0.3]), min_size=1, max_size=4), min_size=1, max_size=3)


@st.composite
def asks(draw: st.DrawFn, poison: bool = True) -> list[Ask]:
    return [
        Ask(
            number=number,
            at=draw(TIMES),
            rows=draw(st.integers(1, 3)),
            group=draw(st.sampled_from("aaab")),
            priority=draw(st.integers(0, 3)),
            timeout=draw(st.sampled_from([0.0, 0.02, 0.2])),
            leaves=draw(st.none() | TIMES),
            poison=poison and draw(st.integers(0, 6)) == 0,
        )
        for number in range(draw(st.integers(1, 40)))
    ]


@settings(max_examples=examples(40), deadline=None)
@given(asks(), LIMITS, LANES)
def test_every_request_ends_once_with_its_own_result_or_its_own_reason(asked, limits, lanes) -> None:
    day = live(asked, limits, lanes)
    assert set(day.outcome) == {ask.number for ask in asked}
    for ask in asked:
        result = day.outcome[ask.number]
        lived = day.ended[ask.number] - ask.at
        limit = min(ask.timeout or limits.default_timeout, limits.default_timeout)
        assert lived <= limit + EPSILON
        if isinstance(result, int):
            assert result == ask.number
            assert not ask.poison
        elif isinstance(result, DeadlineExceeded):
            assert lived == pytest.approx(limit, abs=EPSILON)
        elif isinstance(result, asyncio.CancelledError):
            assert ask.leaves is not None
            assert lived == pytest.approx(ask.leaves, abs=EPSILON)
        elif isinstance(result, QueueFull):
            assert result.retry_after >= 1
            assert lived < EPSILON
        else:
            assert isinstance(result, ValueError), result
            assert ask.poison
    good = sum(isinstance(result, int) for result in day.outcome.values())
    assert len(day.tally.ends) == len(asked) - good
    assert len(day.tally.answers) == good
    runs = sum(len(lane.runs) for lane in day.lanes)
    assert len(day.tally.batches) == runs
    assert [rows for rows, _, _ in day.tally.batches if rows > limits.max_batch_size] == []


@settings(max_examples=examples(40), deadline=None)
@given(asks(poison=False), LANES)
def test_an_idle_engine_never_waits(asked, lanes) -> None:
    limits = Limits(max_batch_size=4, max_queue_size=200, priority_levels=3)
    day = live([Ask(ask.number, ask.at, ask.rows, ask.group, ask.priority) for ask in asked], limits, lanes)
    spans = [span for lane in day.lanes for span in zip((start for start, _ in lane.runs), lane.ends, strict=True)]
    for ask in asked:
        started = ask.at + day.tickets[ask.number].queue_seconds
        moments = [ask.at] + [end for _, end in spans if ask.at <= end < started - EPSILON]
        for moment in moments:
            busy = sum(start <= moment + EPSILON and moment < end - EPSILON for start, end in spans)
            assert started <= moment + EPSILON or busy == len(lanes)


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(1, 3), st.sampled_from([0.1, 1.0, 3.0]), st.integers(1, 8))
def test_the_least_urgent_waits_at_most_its_steps(level, step, batch) -> None:
    """Against urgent requests that alone would keep the engine busy for ever."""
    limits = Limits(
        max_batch_size=batch, max_queue_size=4000, default_timeout=1000, priority_levels=3, priority_step=step
    )
    urgent = [Ask(number, at=number * 0.1 / batch, priority=1) for number in range(int(batch * (step * 20 + 20)))]
    patient = Ask(100_000, at=0.05, priority=level)
    day = live([*urgent, patient], limits, [[0.1]])
    waited = day.tickets[patient.number].queue_seconds
    assert waited <= (level - 1) * step + 0.3


def test_the_urgent_overtake() -> None:
    limits = Limits(max_batch_size=1, priority_levels=2, priority_step=5)
    asked = [
        Ask(0),
        *(Ask(number, at=0.01 * number, priority=2) for number in range(1, 4)),
        Ask(9, at=0.05, priority=1),
    ]
    day = live(asked, limits, [[0.1]])
    assert [batch[0].number for _, batch in day.lanes[0].runs] == [0, 9, 1, 2, 3]


def test_collects_only_while_busy() -> None:
    day = live([Ask(0), *(Ask(number, at=0.01 * number) for number in range(1, 6))], Limits(max_batch_size=4), [[0.1]])
    assert [(round(at, 6), len(batch)) for at, batch in day.lanes[0].runs] == [(0, 1), (0.1, 4), (0.2, 1)]


def test_what_arrives_together_runs_together() -> None:
    day = live([Ask(number) for number in range(4)], Limits(max_batch_size=4), [[0.1]])
    assert [len(batch) for _, batch in day.lanes[0].runs] == [4]


def test_an_engine_goes_on_before_the_answers_of_its_last_batch_are_written() -> None:
    """It idled while the loop wrote sixteen replies."""
    told: list[str] = []

    async def day() -> None:
        limits = Limits(max_batch_size=1)
        lane = ScriptedLane([0.1], limits)
        batcher: Batcher[Ask, int] = Batcher([lane], limits)
        first, second = (batcher.submit(Ask(number)) for number in range(2))
        first.answer.add_done_callback(lambda _: told.append(f"first answered, {len(lane.runs)} batches begun"))
        await second.answer

    run(day())
    assert told == ["first answered, 2 batches begun"]


def test_an_idle_engine_waits_for_more_when_asked_to() -> None:
    limits = Limits(max_batch_size=3, max_queue_delay=0.05)
    day = live([Ask(0), Ask(1, at=0.02), Ask(2, at=0.2), Ask(3, at=0.21), Ask(4, at=0.22)], limits, [[0.001]])
    assert [(round(at, 6), len(batch)) for at, batch in day.lanes[0].runs] == [(0.05, 2), (0.22, 3)]


def test_one_poisoned_request_fails_alone() -> None:
    asked = [Ask(number, poison=number == 5) for number in range(8)]
    day = live(asked, Limits(max_batch_size=8), [[0.01]])
    assert [number for number, result in day.outcome.items() if not isinstance(result, int)] == [5]
    assert len(day.lanes[0].runs) <= 1 + 2 * 3


def test_ten_percent_poison_costs_the_others_little() -> None:
    asked = [Ask(number, at=number * 0.001, poison=number % 10 == 3) for number in range(2000)]
    limits = Limits(max_batch_size=32, max_queue_size=4000, default_timeout=1000)
    day = live(asked, limits, [[0.05]])
    assert all(isinstance(day.outcome[ask.number], int) != ask.poison for ask in asked)
    assert len(day.lanes[0].runs) < 1400  # one by one: 2000; 938 is the least that information theory allows


def test_without_bisection_the_batch_fails_whole() -> None:
    asked = [Ask(number, poison=number == 5) for number in range(8)]
    day = live(asked, Limits(max_batch_size=8, bisect=False), [[0.01]])
    assert not any(isinstance(result, int) for result in day.outcome.values())
    assert len(day.lanes[0].runs) == 1


def test_a_dead_engine_is_not_searched_for_a_culprit() -> None:
    class Dead:
        runs = 0

        def run(self, payloads: Sequence[int]) -> asyncio.Future[Sequence[int]]:
            self.runs += 1
            raise EngineFailed("the device is gone")

    async def scenario() -> None:
        lane = Dead()
        batcher: Batcher[int, int] = Batcher([lane], Limits())
        tickets = [batcher.submit(number) for number in range(8)]
        results = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
        assert all(isinstance(result, EngineFailed) for result in results)
        assert lane.runs == 1

    run(scenario())


def test_an_engine_that_loses_count_fails_its_batch_and_nobody_hangs() -> None:
    class Miscounting:
        def run(self, payloads: Sequence[int]) -> asyncio.Future[Sequence[int]]:
            future: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()
            future.set_result([1])
            return future

    async def scenario() -> None:
        batcher: Batcher[int, int] = Batcher([Miscounting()], Limits())
        tickets = [batcher.submit(number) for number in range(3)]
        results = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
        assert all(isinstance(result, EngineFailed) for result in results)

    run(scenario())


def test_a_gone_client_frees_its_place_and_its_neighbours_go_on() -> None:
    limits = Limits(max_batch_size=4, max_queue_size=4)
    asked = [
        Ask(0),
        *(Ask(number, at=0.01, leaves=0.02 if number == 2 else None) for number in range(1, 5)),
        Ask(9, at=0.04),
    ]
    day = live(asked, limits, [[0.1]])
    assert isinstance(day.outcome[2], asyncio.CancelledError)
    assert [number for number, result in sorted(day.outcome.items()) if isinstance(result, int)] == [0, 1, 3, 4, 9]


def test_a_cancelled_waiter_frees_its_place() -> None:
    async def scenario() -> None:
        limits = Limits(max_batch_size=1, max_queue_size=1)
        batcher: Batcher[Ask, int] = Batcher([ScriptedLane([0.1], limits)], limits)
        first = asyncio.create_task(batcher.answer(batcher.submit(Ask(0))))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(batcher.answer(batcher.submit(Ask(1))))
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull):
            batcher.submit(Ask(2))
        second.cancel()
        await asyncio.sleep(0)
        third = batcher.submit(Ask(3))
        assert (await first, await batcher.answer(third)) == (0, 3)

    run(scenario())


def test_the_clock_of_these_tests_notices_a_lost_request() -> None:
    async def lost() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        run(lost())
