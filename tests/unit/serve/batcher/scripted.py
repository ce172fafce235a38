"""A scripted day of a batcher: requests that come, leave and poison, and engines that watch over the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.unit.serve.batcher.virtual_time import run
from workloads.serve.batcher import Batcher, Limits, Ticket


@dataclass(frozen=True)
class Ask:
    """One request of a scripted day. Times in seconds; `leaves` after its arrival, or never."""

    number: int
    at: float = 0.0
    rows: int = 1
    group: str = "a"
    priority: int = 0
    timeout: float = 0.0
    leaves: float | None = None
    poison: bool = False


class ScriptedLane:
    """Takes as long as the script says, fails a batch with poison in it, and looks at every batch it gets."""

    def __init__(self, seconds: Sequence[float], limits: Limits) -> None:
        self.seconds = list(seconds)
        self.limits = limits
        self.runs: list[tuple[float, list[Ask]]] = []
        self.ends: list[float] = []
        self.busy = False

    def run(self, payloads: Sequence[Ask]) -> asyncio.Future[Sequence[int]]:
        loop = asyncio.get_running_loop()
        assert not self.busy, "two batches at once on one lane"
        assert payloads
        assert sum(ask.rows for ask in payloads) <= self.limits.max_batch_size
        assert len({ask.group for ask in payloads}) == 1, "shapes were mixed"
        self.busy = True
        self.runs.append((loop.time(), list(payloads)))
        future: asyncio.Future[Sequence[int]] = loop.create_future()
        loop.call_later(self.seconds[(len(self.runs) - 1) % len(self.seconds)], self._end, future, list(payloads))
        return future

    def _end(self, future: asyncio.Future[Sequence[int]], payloads: list[Ask]) -> None:
        self.busy = False
        self.ends.append(asyncio.get_running_loop().time())
        if any(ask.poison for ask in payloads):
            future.set_exception(ValueError("poison"))
        else:
            future.set_result([ask.number for ask in payloads])


class Tally:
    def __init__(self) -> None:
        self.ends: list[str] = []
        self.answers: list[float] = []
        self.queue: list[float] = []
        self.batches: list[tuple[int, int, float]] = []

    def queued(self, seconds: float) -> None:
        self.queue.append(seconds)

    def ran(self, rows: int, requests: int, seconds: float) -> None:
        self.batches.append((rows, requests, seconds))

    def answered(self, seconds: float) -> None:
        self.answers.append(seconds)

    def ended(self, reason: str) -> None:
        self.ends.append(reason)


@dataclass
class Day:
    """What became of every request."""

    lanes: list[ScriptedLane]
    tally: Tally
    outcome: dict[int, int | BaseException] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    tickets: dict[int, Ticket[Ask, int]] = field(default_factory=dict)


async def _one(batcher: Batcher[Ask, int], ask: Ask, day: Day) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(ask.at)
    try:
        ticket = day.tickets[ask.number] = batcher.submit(
            ask, rows=ask.rows, group=ask.group, priority=ask.priority, timeout=ask.timeout, size=ask.rows
        )
        if ask.leaves is not None:
            loop.call_later(ask.leaves, batcher.abandon, ticket)
        result: int | BaseException = await batcher.answer(ticket)
    except (Exception, asyncio.CancelledError) as error:
        result = error
    assert ask.number not in day.outcome
    day.outcome[ask.number] = result
    day.ended[ask.number] = loop.time()


def live(asks: Sequence[Ask], limits: Limits, lanes: Sequence[Sequence[float]]) -> Day:
    async def whole() -> Day:
        tally = Tally()
        day = Day([ScriptedLane(seconds, limits) for seconds in lanes], tally)
        batcher: Batcher[Ask, int] = Batcher(day.lanes, limits, tally, asyncio.get_running_loop().time)
        await asyncio.gather(*(_one(batcher, ask, day) for ask in asks))
        await batcher.drained()
        assert (batcher.waiting, batcher.busy, batcher.rows) == (0, 0, 0)
        assert batcher._line.size == batcher._line.tickets == 0
        return day

    return run(whole())
