"""Size of evaluation's calls by memory: what a model makes of its inputs inside is often hundreds of times as large.

Measured, for no rule knows what a runtime keeps: calls of 1, 2, 4, ... samples, until the next one would be too much.
Asked once for a job and kept, so that later stages and restarts cut the samples alike.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from workloads.measure import rss
from workloads.onnx import session as runtime
from workloads.onnx.feeds import Samples
from workloads.quantize.batches.apart import run

if TYPE_CHECKING:
    import onnx

BUDGET = 512 << 20  # bytes by which the process may grow in calls of the float model, inputs and answers included


def measured(model: "onnx.ModelProto", samples: Samples, chosen: Sequence[int], most: int, budget: int) -> int:
    """Number of samples of the largest inputs that go into a call of a model, at most `most`."""
    session = runtime.session(model)
    heaviest = max(chosen, key=samples.weight)
    begin = rss.resident()

    def call(size: int) -> int:
        return rss.peak_growth(lambda: run(session, samples.read([heaviest] * size).feeds), above=begin)

    return size_for(call, min(most, len(chosen)), budget)


def size_for(call: Callable[[int], int], most: int, budget: int) -> int:
    """The largest of 1, 2, 4, ... and `most` whose call grows the process by no more than `budget`; at least 1.

    `call(size)` makes a call of so many samples and returns the growth in bytes since before the first one. None is
    made that would take more than the budget if twice as many samples took twice as much.
    """
    size, grown = 1, call(1)
    while size < most and 2 * grown <= budget:
        larger = min(2 * size, most)
        grown = call(larger)
        if grown > budget:
            return size
        size = larger
    return size
