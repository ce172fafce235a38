"""Workers, time limits, retries and draining, with the real queue and a real event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from slipway.runtime.client.errors import ApiError, Conflict, Invalid, Terminal, Transient
from slipway.runtime.controller import DONE, Controller, Result
from slipway.runtime.queue import MAX_BACKOFF, WorkQueue
from tests.unit.runtime.waiting import until

Body = Callable[[str], Awaitable[Result]]


class Bench:
    """A controller whose reconcile is the test's, with everything it reported."""

    def __init__(self, body: Body, *, timeout: float = 5.0, workers: int = 4) -> None:
        self.queue: WorkQueue[str] = WorkQueue()
        self.errors: list[tuple[str, Exception]] = []
        self.outcomes = Counter[str]()
        self.runs = Counter[str]()
        self.report: Callable[[], None] = lambda: None

        async def reconcile(key: str) -> Result:
            self.runs[key] += 1
            return await body(key)

        async def on_error(key: str, error: Exception) -> None:
            self.errors.append((key, error))
            self.report()

        def observe(name: str, result: str, seconds: float) -> None:
            assert seconds >= 0
            self.outcomes[result] += 1

        self.controller = Controller(
            "jobs", self.queue, reconcile, workers=workers, timeout=timeout, on_error=on_error, observe=observe
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Run the workers until the condition holds, then stop them."""
        task = asyncio.create_task(self.controller.run())
        await until(condition)
        await self.controller.stop()
        await task


async def test_a_transient_error_is_told_retried_and_forgotten_after_success() -> None:
    tries = Counter[str]()

    async def flaky(key: str) -> Result:
        tries[key] += 1
        if tries[key] < 4:
            raise Transient("NotYet", "still waiting")
        return DONE

    bench = Bench(flaky)
    bench.queue.mark("a")
    await bench.until(lambda: bench.outcomes["success"] == 1)
    assert [str(error) for _, error in bench.errors] == ["NotYet: still waiting"] * 3
    assert bench.queue.failures("a") == 0
    assert bench.queue.retries == 3


async def test_terminal_is_told_once_and_waits_for_a_mark() -> None:
    async def bad(key: str) -> Result:
        raise Terminal("InvalidSpec", "numNodes is 0")

    bench = Bench(bad)
    bench.queue.mark("a")
    await bench.until(lambda: len(bench.errors) == 1)
    assert (bench.queue.delayed, bench.queue.depth, bench.runs["a"]) == (0, 0, 1)


async def test_a_terminal_error_that_could_not_be_reported_comes_again() -> None:
    async def bad(key: str) -> Result:
        raise Terminal("InvalidSpec", "numNodes is 0")

    bench = Bench(bad)

    def fail_once() -> None:
        if len(bench.errors) == 1:
            raise ApiError(503, "Unavailable", "no etcd")

    bench.report = fail_once
    bench.queue.mark("a")
    await bench.until(lambda: len(bench.errors) == 2)
    assert bench.queue.delayed == 0


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (Conflict(409, "Conflict", "stale"), 0, 0.01),
        (RuntimeError("a bug"), 0, 0.01),
        (Transient("Quota", "exceeded", retry_after=40), 39, 40),
        (ApiError(503, "Unavailable", "busy", retry_after=7), 6, 7),
        (Invalid(422, "Invalid", "spec.x: Required"), MAX_BACKOFF - 1, MAX_BACKOFF),
    ],
)
async def test_how_long_an_error_waits(error: Exception, least: float, most: float) -> None:
    async def bad(key: str) -> Result:
        raise error

    bench = Bench(bad)
    pauses: list[float] = []
    original = bench.queue.backoff

    def backoff(key: str, at_least: float = 0.0) -> float:
        pauses.append(original(key, at_least))
        return pauses[-1]

    bench.queue.backoff = backoff  # type: ignore[method-assign]
    bench.queue.mark("a")
    await bench.until(lambda: len(bench.errors) >= 1)
    assert least <= pauses[0] <= most
    assert bench.errors[0][1] is error


async def test_requeue_after_runs_again_without_a_mark() -> None:
    async def periodic(key: str) -> Result:
        return Result(requeue_after=0.005)

    bench = Bench(periodic)
    bench.queue.mark("a")
    await bench.until(lambda: bench.runs["a"] >= 3)
    assert bench.outcomes["requeue"] >= 3


async def test_a_reconcile_that_hangs_is_cut_off_and_says_so() -> None:
    async def hangs(key: str) -> Result:
        await asyncio.sleep(60)
        return DONE

    bench = Bench(hangs, timeout=0.02)
    bench.queue.mark("a")
    await bench.until(lambda: len(bench.errors) >= 1)
    assert isinstance(bench.errors[0][1], Transient)
    assert bench.errors[0][1].reason == "ReconcileTimeout"


async def test_one_slow_key_does_not_hold_up_the_others_and_is_never_doubled() -> None:
    gate = asyncio.Event()
    active = Counter[str]()

    async def work(key: str) -> Result:
        active[key] += 1
        assert active[key] == 1
        if key == "slow":
            await gate.wait()
        await asyncio.sleep(0)
        active[key] -= 1
        return DONE

    bench = Bench(work, workers=2)
    for key in ["slow", *(f"k{n}" for n in range(50))]:
        bench.queue.mark(key)
    task = asyncio.create_task(bench.controller.run())
    async with asyncio.timeout(60):
        while sum(bench.runs.values()) < 51:
            bench.queue.mark("slow")
            await asyncio.sleep(0)
    gate.set()
    await until(lambda: bench.runs["slow"] == 2)
    await bench.controller.stop()
    await task
    assert bench.runs["slow"] == 2


async def test_stop_lets_work_finish_within_the_grace_and_cancels_the_rest() -> None:
    finished: list[str] = []
    started = asyncio.Event()

    async def work(key: str) -> Result:
        started.set()
        await asyncio.sleep(0.02 if key == "quick" else 60)
        finished.append(key)
        return DONE

    bench = Bench(work, timeout=120)
    for key in ("quick", "endless", "quick"):
        bench.queue.mark(key)
    task = asyncio.create_task(bench.controller.run())
    await started.wait()
    await bench.controller.stop(grace=0.2)
    await task
    assert finished == ["quick"]


async def test_a_failure_is_logged_once_and_again_only_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    messages = iter(["x", "x", "x", "y", "y"])

    async def bad(key: str) -> Result:
        raise Transient("Waiting", next(messages, "y"))

    bench = Bench(bad)
    with caplog.at_level(logging.INFO, logger="slipway.runtime.controller"):
        bench.queue.mark("a")
        await bench.until(lambda: len(bench.errors) >= 5)
    assert [record.getMessage() for record in caplog.records] == [
        "jobs a: reconcile failed: Transient: Waiting: x",
        "jobs a: reconcile failed: Transient: Waiting: y",
    ]


async def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def bug(key: str) -> Result:
        raise KeyError("spec")

    bench = Bench(bug)
    with caplog.at_level(logging.INFO, logger="slipway.runtime.controller"):
        bench.queue.mark("a")
        await bench.until(lambda: len(bench.errors) >= 2)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
