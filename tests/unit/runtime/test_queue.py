"""The queue's promises: no mark is lost, no key is worked twice at once, delayed marks fire when they are due."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slipway.runtime.queue import FIRST_BACKOFF, MAX_BACKOFF, QueueClosed, WorkQueue
from tests.unit.runtime.effort import examples
from tests.unit.runtime.waiting import until

KEYS = st.sampled_from("abcd")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class QueueMachine(RuleBasedStateMachine):
    """Against a model that holds, per key, whether work is owed and when the earliest delayed mark is due."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.waits: list[float] = []
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, rng=lambda: 0.5, observe_wait=self.waits.append)
        self.owed: set[str] = set()
        self.due: dict[str, float] = {}
        self.flying: set[str] = set()

    def settle(self) -> None:
        for key in [key for key, due in self.due.items() if due <= self.clock.now]:
            del self.due[key]
            self.owed.add(key)

    @rule(key=KEYS)
    def mark(self, key: str) -> None:
        self.queue.mark(key)
        self.owed.add(key)

    @rule(key=KEYS, seconds=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 10.0]))
    def mark_after(self, key: str, seconds: float) -> None:
        self.queue.mark_after(key, seconds)
        if seconds <= 0:
            self.owed.add(key)
        else:
            self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + seconds)

    @rule(key=KEYS)
    def backoff(self, key: str) -> None:
        before = self.queue.failures(key)
        seconds = self.queue.backoff(key)
        assert seconds == pytest.approx(min(MAX_BACKOFF, FIRST_BACKOFF * 2**before) * 0.75)
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + seconds)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        assert self.queue.failures(key) == 0

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        self.settle()
        key = self.queue.take()
        if key is None:
            assert not self.owed - self.flying, "work is owed, and the queue hands out nothing"
            return
        assert key not in self.flying, "one key is worked twice at once"
        assert key in self.owed, "work that nobody asked for"
        self.owed.remove(key)
        self.flying.add(key)
        assert self.waits[-1] >= 0

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.flying)))
        self.queue.done(key)
        self.flying.remove(key)

    @invariant()
    def gauges(self) -> None:
        assert self.queue.in_flight == len(self.flying)
        assert self.queue.depth + self.queue.delayed >= len(self.owed | self.due.keys())
        due = self.queue.next_due()
        assert due is None or due <= min(self.due.values(), default=float("inf")) or due <= self.clock.now

    def teardown(self) -> None:
        """Whatever happened: if work goes on and time passes, everything owed gets worked."""
        for key in sorted(self.flying):
            self.queue.done(key)
        self.clock.now += MAX_BACKOFF + 10
        self.settle()
        worked = set()
        while (key := self.queue.take()) is not None:
            worked.add(key)
            self.queue.done(key)
        assert worked == self.owed
        assert (self.queue.depth, self.queue.delayed, self.queue.in_flight) == (0, 0, 0)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=examples(120), stateful_step_count=40, deadline=None)


def test_order_is_first_in_first_out() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.mark(key)
    queue.mark("c")
    assert [queue.take() for _ in range(4)] == ["c", "a", "b", None]


def test_a_plain_mark_keeps_the_deadline() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.mark_after("job", 60)
    queue.mark("job")
    assert queue.take() == "job"
    queue.done("job")
    assert queue.take() is None
    clock.now += 60
    assert queue.take() == "job"


def test_backoff_grows_to_five_minutes_and_jitters() -> None:
    low: WorkQueue[str] = WorkQueue(clock=Clock(), rng=lambda: 0.0)
    high: WorkQueue[str] = WorkQueue(clock=Clock(), rng=lambda: 0.999999)
    lows, highs = ([queue.backoff("k") for _ in range(40)] for queue in (low, high))
    assert lows[0] == pytest.approx(0.0025)
    assert highs[0] == pytest.approx(0.005, rel=1e-3)
    assert lows[-1] == pytest.approx(150)
    assert highs[-1] == pytest.approx(300, rel=1e-3)
    assert lows == sorted(lows)
    assert low.retries == 40


def test_a_retry_after_longer_than_the_backoff_wins() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock())
    assert queue.backoff("k", at_least=17.0) == 17.0


def test_the_heap_stays_small_when_one_key_is_marked_ever_earlier() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock())
    for n in range(10_000):
        queue.mark_after("k", 20_000.0 - n)
    assert queue.delayed == 1
    assert len(queue._heap) <= 65


async def test_get_wakes_for_a_mark_and_for_a_delayed_mark() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.mark_after("later", 30)
    queue.mark_after("soon", 0.02)
    assert await asyncio.wait_for(getter, 20) == "soon"
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.mark("now")
    assert await asyncio.wait_for(getter, 20) == "now"


async def test_a_cancelled_getter_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.mark("k")
    first.cancel()
    assert await asyncio.wait_for(second, 20) == "k"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_shutdown_releases_every_getter_and_takes_no_marks() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shutdown()
    queue.mark("k")
    assert all(isinstance(e, QueueClosed) for e in await asyncio.gather(*getters, return_exceptions=True))
    assert queue.depth == 0


async def test_many_workers_never_share_a_key_and_miss_no_mark() -> None:
    """`cluster` stands for the API server: after the last mark each key must have been seen at its last value."""
    queue: WorkQueue[int] = WorkQueue()
    cluster, seen, active = Counter[int](), Counter[int](), Counter[int]()

    async def worker() -> None:
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            active[key] += 1
            assert active[key] == 1
            value = cluster[key]
            await asyncio.sleep(0)
            seen[key] = value
            active[key] -= 1
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(8)]
    for n in range(5000):
        cluster[n * 7919 % 13] += 1
        queue.mark(n * 7919 % 13)
        if n % 11 == 0:
            await asyncio.sleep(0)
    await until(lambda: not (queue.depth or queue.in_flight))
    queue.shutdown()
    await asyncio.gather(*workers)
    assert seen == cluster


def test_a_process_that_ends_again_and_again_comes_to_each_key() -> None:
    """In the order of the LIST the last of 64 jobs was not looked at in thirteen minutes of short lives."""
    dice, seen = random.Random(0), Counter[int]()
    for _ in range(100):
        queue: WorkQueue[int] = WorkQueue(rng=dice.random)
        for key in range(64):
            queue.mark(key)
        queue.reorder(lambda key: False)
        seen.update(found for _ in range(6) if (found := queue.take()) is not None)
    assert set(seen) == set(range(64))
    queue = WorkQueue(rng=dice.random)
    for key in range(64):
        queue.mark(key)
    queue.reorder(lambda key: key in (40, 63))
    assert {queue.take(), queue.take()} == {40, 63}
    rest = [queue.take() for _ in range(62)]
    assert sorted(key for key in rest if key is not None) == sorted({*range(64)} - {40, 63})
    assert queue.take() is None
