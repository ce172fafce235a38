"""Admission to the batcher's queue: what is refused at once, and when to come again."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.serve.batcher.scripted import Ask, ScriptedLane
from tests.unit.serve.batcher.virtual_time import run
from workloads.serve.batcher import Batcher, Limits
from workloads.serve.errors import Invalid, NotReady, QueueFull


def test_full_in_rows_and_full_in_bytes() -> None:
    async def scenario() -> None:
        limits = Limits(max_batch_size=4, max_queue_size=6, max_queue_bytes=100)
        batcher: Batcher[Ask, int] = Batcher([ScriptedLane([0.1], limits)], limits)
        batcher.submit(Ask(9))
        await asyncio.sleep(0)
        batcher.submit(Ask(0), rows=4, size=90)
        with pytest.raises(QueueFull, match="4 rows are waiting"):
            batcher.submit(Ask(1), rows=3)
        with pytest.raises(QueueFull):
            batcher.submit(Ask(1), rows=1, size=11)
        batcher.submit(Ask(1), rows=2, size=10)
        await batcher.drained()

    run(scenario())


def test_retry_after_follows_the_pace() -> None:
    async def scenario() -> None:
        limits = Limits(max_batch_size=10, max_queue_size=100, default_timeout=100)
        batcher: Batcher[Ask, int] = Batcher(
            [ScriptedLane([2.0], limits)], limits, None, asyncio.get_running_loop().time
        )
        await batcher.answer(batcher.submit(Ask(0), rows=10))
        for _ in range(11):
            batcher.submit(Ask(1), rows=10)
        with pytest.raises(QueueFull) as full:
            batcher.submit(Ask(1))
        assert full.value.retry_after == 20
        await batcher.drained()

    run(scenario())


def test_closing_refuses_the_new_and_serves_the_old() -> None:
    async def scenario() -> None:
        limits = Limits(max_batch_size=1)
        batcher: Batcher[Ask, int] = Batcher([ScriptedLane([0.1], limits)], limits)
        tickets = [batcher.submit(Ask(number)) for number in range(3)]
        batcher.close()
        with pytest.raises(NotReady):
            batcher.submit(Ask(9))
        await batcher.drained()
        assert [await ticket.answer for ticket in tickets] == [0, 1, 2]

    run(scenario())


@pytest.mark.parametrize(("rows", "priority"), [(0, 0), (5, 0), (-1, 0), (1, 4), (1, -1)])
def test_what_can_never_be_served_is_refused_at_the_door(rows: int, priority: int) -> None:
    async def scenario() -> None:
        limits = Limits(max_batch_size=4, priority_levels=3)
        batcher: Batcher[Ask, int] = Batcher([ScriptedLane([0.1], limits)], limits)
        with pytest.raises(Invalid):
            batcher.submit(Ask(0), rows=rows, priority=priority)
        assert batcher.waiting == 0

    run(scenario())
