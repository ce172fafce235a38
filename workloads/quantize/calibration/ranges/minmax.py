"""Ranges from extremes and from quantiles: min-max, moving average, percentile."""

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from workloads.quantize.calibration.scale import Levels, Range
from workloads.quantize.calibration.statistics import TensorStatistics

if TYPE_CHECKING:
    import numpy.typing as npt


def min_max(statistics: TensorStatistics, row: int = 0) -> Range:
    """Range of everything that was seen: nothing is clipped, one outlier costs every other value precision."""
    return Range(float(statistics.minimum[row]), float(statistics.maximum[row]))


def moving_average(statistics: TensorStatistics, row: int = 0) -> Range:
    """Mean of the batches' extremes: an outlier counts as much as its batch (ONNX Runtime's CalibMovingAverage)."""
    return Range(*statistics.mean_extremes(row))


def percentile(statistics: TensorStatistics, share: float, levels: Levels, row: int = 0) -> Range:
    """Range of at least `share` percent of the values.

    Of the magnitudes when symmetric, else with half of the rest cut on each side.

    The far edge of the bin that holds the quantile, so never less than asked for; never more than was seen.
    """
    histogram = statistics.histogram
    width, rest = histogram.width(row), 1 - Fraction(str(share)) / 100
    if levels.symmetric:
        threshold = _bins(histogram.folded(row), 1 - rest) * width
        return clamped(Range(-threshold, threshold), statistics, row)
    counts, half = histogram.counts[row], histogram.half
    high, low = _bins(counts, 1 - rest / 2) - half, half - _bins(counts[::-1], 1 - rest / 2)
    return clamped(Range(low * width, high * width), statistics, row)


def _bins(counts: "npt.NDArray[np.int64]", share: Fraction) -> int:
    """Number of the first bins that hold at least this share of all values; exact."""
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, ceil(share * int(cumulative[-1])))) + 1


def clamped(found: Range, statistics: TensorStatistics, row: int) -> Range:
    """Clamp a range to what was seen: an integer for a number that never comes is wasted."""
    return Range(max(found.low, float(statistics.minimum[row])), min(found.high, float(statistics.maximum[row])))
