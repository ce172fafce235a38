"""Turns are really taken, figures are those of the calls, and torch's own benchmark finds the same."""

from __future__ import annotations

import time

import numpy as np
from torch.utils.benchmark import Timer

from workloads.measure.timing import clock_of, figures, in_turns, restless

# Shorter than a busy machine's turns.
CALL_SECONDS = 0.0002


def test_contenders_take_turns_and_every_other_round_backwards() -> None:
    order: list[str] = []
    calls = [lambda name=name: order.append(name) for name in "abc"]
    seconds = in_turns(calls, rounds=4, warmup=2)
    assert "".join(order) == "abcabc" + "abc" + "cba" + "abc" + "cba"
    assert seconds.shape == (3, 4)
    assert (seconds > 0).all()


def test_the_time_in_which_others_have_the_core_is_no_latency_of_one_thread() -> None:
    """On a machine of two cores and twenty processes, equal models looked as if one were twice as slow."""

    def call() -> None:
        time.sleep(0.02)

    assert in_turns([call], rounds=3, warmup=0, clock=clock_of(1)).min() < 0.01
    assert in_turns([call], rounds=3, warmup=0, clock=clock_of(2)).min() >= 0.02


def test_figures_are_percentiles_of_the_calls() -> None:
    calls = np.arange(1, 101) / 1e3
    assert figures(calls, 4) == {"p50Ms": 50.5, "p99Ms": 99.01, "iqrMs": 49.5, "samplesPerSecond": round(4 / 0.0505, 1)}
    assert restless(figures(calls, 4))
    assert not restless(figures(np.full(100, 0.01), 1))


def test_torchs_own_benchmark_finds_the_same() -> None:
    """A call of a known length, and the quickest of short turns: what else the machine does is in neither."""

    def call() -> None:
        end = time.perf_counter() + CALL_SECONDS
        while time.perf_counter() < end:
            pass

    timer = Timer("call()", globals={"call": call}, num_threads=1)
    turns = [
        (figures(in_turns([call], rounds=9, warmup=1)[0], 1)["p50Ms"], timer.timeit(5).mean * 1e3) for _ in range(100)
    ]
    for quickest in (min(times) for times in zip(*turns, strict=True)):
        assert CALL_SECONDS * 1e3 <= quickest < 2 * CALL_SECONDS * 1e3
