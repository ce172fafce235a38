"""What an input costs: CPU seconds of the thread, which neighbours on the machine don't add to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

NOMINAL = 0.0165
"""CPU seconds of `slowness`'s work on the machine for which the limits are meant, in a process that is new."""
MOMENT = 0.05
"""Seconds of the operator's loop on that machine: what the largest hostile input may cost in one turn."""


def slowness() -> float:
    """CPU time of fixed work at present, half counting and half walking through objects, in NOMINALs; at least 1.

    A machine that is four times slower takes four times as long for everything, hostile or not. So does a process whose
    memory earlier tests have left in pieces, for all that walks through objects: 14 ms in a new one were 58 ms there.
    """
    rows = [{"name": f"c{number}", "state": {}} for number in range(40_000)]
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        sum(number * number for number in range(200_000))
        for _ in range(4):
            sum(1 for row in rows if row["name"] and not row["state"])
        best = min(best, time.thread_time() - began)
    return max(1.0, best / NOMINAL)


SLOWNESS = slowness()
"""Slowness of this machine when the tests began."""
SLACK = 3
"""What a process that has run thousands of other tests may take longer: its memory lies in pieces. What grows with the
square of the input takes hundreds of moments."""
LIMIT = SLACK * MOMENT * SLOWNESS
"""MOMENT on this machine, with slack."""
TRIES = 7
ROUNDS = 12
# A cost below this is measured once only, on whatever the machine does at the time: it is not compared with another.
COMPARABLE = LIMIT / SLACK / 4


def cost(call: Callable[[], Any]) -> float:
    """CPU seconds of the call at its best; what it raises as an answer (ValueError) is an answer.

    A neighbour on the same core, or on the same host, makes everything slower for seconds: what costs too much is asked
    again a little later.
    """
    best = float("inf")
    gc.collect()
    for number in range(TRIES * ROUNDS):
        began = time.thread_time()
        with contextlib.suppress(ValueError):
            call()
        best = min(best, time.thread_time() - began)
        if best < COMPARABLE or (number >= TRIES - 1 and best < LIMIT):
            break
        if number % TRIES == TRIES - 1:
            time.sleep(0.5)
    return best


def assert_bounded(make: Callable[[int], Callable[[], Any]], largest: int) -> None:
    """The largest input costs less than LIMIT, and twice as much not much more than twice as long.

    The pace of this very minute counts, too.
    """
    whole = cost(make(largest))
    assert whole < LIMIT or whole < SLACK * MOMENT * slowness(), f"{whole * 1e3:.1f} ms for {largest}"
    for _ in range(TRIES):  # a neighbour's burst falls upon one of the two
        half = cost(make(largest // 2))
        if whole < max(COMPARABLE, 3 * half):
            return
        whole = min(whole, cost(make(largest)))
    raise AssertionError(f"{half * 1e3:.1f} ms for half, {whole * 1e3:.1f} ms for {largest}")


def assert_within(seconds: float, call: Callable[[], Any]) -> None:
    """At its best the call takes at most so many CPU seconds of its thread, on the machine that MOMENT is meant for."""
    best = float("inf")
    for _ in range(TRIES):
        began = time.thread_time()
        call()
        best = min(best, time.thread_time() - began)
        if best < seconds * SLOWNESS:
            return
        time.sleep(0.5)
    assert best < seconds * slowness(), f"{best:.2f} s of CPU"


async def longest_turn(work: Awaitable[Any]) -> float:
    """CPU seconds of the longest turn of the loop while the work goes on."""
    longest, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    await done
    return longest
