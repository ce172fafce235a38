"""Latency of calls that are compared, for `bench`, and for the quantizer's benchmark and latency gate.

The discipline of torch.utils.benchmark: warmed up, many runs, medians with their spread. Beyond it, the contenders take
turns, so that a busy machine is busy for all of them, and ratios are taken pair by pair within a round.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Seconds = npt.NDArray[np.float64]

RESTLESS = 0.1  # of the median: from this spread on torch.utils.benchmark, too, warns that the machine was not quiet


def in_turns(
    calls: Sequence[Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> "Seconds":
    """Seconds [call, round] of calls that alternate, by `clock`."""
    for call in list(calls) * warmup:
        call()
    seconds = np.zeros((len(calls), rounds))
    for turn in range(rounds):
        # Every other round backwards: what runs first in a round finds the caches as the other left them.
        for index in range(len(calls))[:: 1 if turn % 2 == 0 else -1]:
            begin = clock()
            calls[index]()
            seconds[index, turn] = clock() - begin
    return seconds


def clock_of(threads: int) -> Callable[[], float]:
    """Clock by which calls on so many threads are compared: CPU time of this thread where it alone computes.

    A busy machine takes the core away in the middle of a long call and of hardly any short one: by the wall the least
    of a few dozen calls may be twice as long as it is. Of several threads only the wall tells.
    """
    return time.thread_time if threads == 1 else time.perf_counter


def figures(seconds: "Seconds", samples: int) -> dict[str, float]:
    """Figures of one call of `samples` samples: p50, p99 and interquartile range in milliseconds, samples per second.

    Throughput is from the mean, which holds what percentiles leave out.
    """
    low, middle, high, slowest = (float(value) * 1e3 for value in np.percentile(seconds, [25, 50, 75, 99]))
    return {
        "p50Ms": round(middle, 4),
        "p99Ms": round(slowest, 4),
        "iqrMs": round(high - low, 4),
        "samplesPerSecond": round(samples / float(seconds.mean()), 1),
    }


def restless(figures: dict[str, float]) -> bool:
    """Tell whether the spread is so large that the medians say little."""
    return figures["iqrMs"] > RESTLESS * figures["p50Ms"]
