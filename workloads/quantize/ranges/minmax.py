"""Ranges from extremes and from quantiles: min-max, moving average, percentile."""

import numpy as np

from workloads.quantize.scale import Levels, Range
from workloads.quantize.statistics import TensorStatistics


def min_max(statistics: TensorStatistics, row: int = 0) -> Range:
    """Everything that was seen: nothing is clipped, one outlier costs every other value precision."""
    return Range(float(statistics.minimum[row]), float(statistics.maximum[row]))


def moving_average(statistics: TensorStatistics, row: int = 0) -> Range:
    """Mean of the batches' extremes: an outlier counts as much as its batch (ONNX Runtime's CalibMovingAverage)."""
    return Range(*statistics.mean_extremes(row))


def percentile(statistics: TensorStatistics, share: float, levels: Levels, row: int = 0) -> Range:
    """At least `share` percent of the values: of the magnitudes when symmetric, else with half of the rest cut on each side.

    The far edge of the bin that holds the quantile, so never less than asked for; never more than was seen.
    """
    histogram = statistics.histogram
    width, rest = histogram.width(row), 1 - share / 100
    if levels.symmetric:
        threshold = (_quantile(histogram.folded(row), 1 - rest) + 1) * width
        return clamped(Range(-threshold, threshold), statistics, row)
    counts = histogram.counts[row]
    high = _quantile(counts, 1 - rest / 2) + 1 - histogram.half
    low = histogram.half - _quantile(counts[::-1], 1 - rest / 2) - 1
    return clamped(Range(low * width, high * width), statistics, row)


def _quantile(counts: "np.ndarray[tuple[int], np.dtype[np.int64]]", share: float) -> int:
    """The first bin up to which at least `share` of all values lie."""
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative / cumulative[-1], share))


def clamped(found: Range, statistics: TensorStatistics, row: int) -> Range:
    """Not beyond what was seen: an integer for a number that never comes is wasted."""
    return Range(max(found.low, float(statistics.minimum[row])), min(found.high, float(statistics.maximum[row])))
