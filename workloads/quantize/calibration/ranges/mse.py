"""The range with the least mean squared error between values and their quantized selves, from the histogram alone.

With cumulative sums of counts, values and squares the error of a threshold needs the boundaries of the integer's cells
only: sum (x - q)^2 over a cell is S2 - 2 q S1 + q^2 S0. Each value stands at the middle of its bin.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from workloads.quantize.calibration.ranges.minmax import clamped
from workloads.quantize.calibration.scale import Levels, Range
from workloads.quantize.calibration.statistics import TensorStatistics

if TYPE_CHECKING:
    import numpy.typing as npt

    Reals = npt.NDArray[np.float64]

NARROWEST = 1 / 64  # of what was seen: no useful clipping is stronger
CANDIDATES = 512  # thresholds tried per side
SWEEPS = 2  # affine: each side is searched so often with the other one fixed


def mse(statistics: TensorStatistics, levels: Levels, row: int = 0) -> Range:
    """Range of least squared error.

    Symmetric: one threshold is searched. Affine: the two ends in turn, from the widest range.
    """
    error = errors_of(statistics, levels, row)
    low, high = min(0.0, float(statistics.minimum[row])), max(0.0, float(statistics.maximum[row]))
    shares = np.linspace(NARROWEST, 1.0, CANDIDATES)
    if levels.symmetric:
        threshold = max(-low, high) * shares
        best = threshold[_last_least(error(-threshold, threshold))]
        return clamped(Range(-float(best), float(best)), statistics, row)
    lows, highs = low * shares, high * shares
    for _ in range(SWEEPS):
        high = float(highs[_last_least(error(np.full(CANDIDATES, low), highs))]) if high > 0 else high
        low = float(lows[_last_least(error(lows, np.full(CANDIDATES, high)))]) if low < 0 else low
    return clamped(Range(low, high), statistics, row)


def _last_least(errors: "Reals") -> int:
    """Index of the last of the least errors: the widest of the best ranges."""
    return len(errors) - 1 - int(np.argmin(errors[::-1]))


def errors_of(statistics: TensorStatistics, levels: Levels, row: int = 0) -> "Callable[[Reals, Reals], Reals]":
    """A function from ranges (low [n] <= 0 <= high [n]) to the mean squared error [n] of the values that were seen."""
    histogram = statistics.histogram
    counts, width = histogram.counts[row].astype(np.float64), histogram.width(row)
    middles = (np.arange(len(counts)) - histogram.half + 0.5) * width
    sums = [np.concatenate([[0.0], np.cumsum(counts * middles**power)]) for power in (0, 1, 2)]

    def error(low: "Reals", high: "Reals") -> "Reals":
        scale = (high - low) / (levels.greatest - levels.least)
        scale = np.where(scale > 0, scale, 1.0)
        zero = np.full_like(low, levels.middle) if levels.symmetric else np.rint(levels.least - low / scale)
        integers = np.arange(levels.least, levels.greatest + 1) - zero[:, None]
        # A cell ends half way to the next integer; the outermost ones take all that is clipped.
        inner = np.ceil((integers[:, 1:] - 0.5) * scale[:, None] / width - 0.5) + histogram.half
        edges = np.zeros((len(low), integers.shape[1] + 1), dtype=np.int64)
        edges[:, 1:-1], edges[:, -1] = np.clip(inner, 0, len(counts)), len(counts)
        number, first, second = (np.diff(cumulative[edges], axis=1) for cumulative in sums)
        q = integers * scale[:, None]
        result: Reals = (second - 2 * q * first + q**2 * number).sum(axis=1) / counts.sum()
        return np.maximum(result, 0.0)

    return error
