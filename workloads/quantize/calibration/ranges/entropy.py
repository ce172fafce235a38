"""The range that loses the least information: NVIDIA's KL calibration, every threshold searched, all at once.

The definition is TensorRT's (Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 32 to 38; NVIDIA's maintained
code of it is ModelOpt's histogram calibrator): P is the histogram of magnitudes up to bin i with all that lies beyond
added to its last bin; Q is the same bins merged into as many levels as the integer has, spread again evenly over the
bins that are not empty; the threshold is the i with the least KL(P || Q). The zero bin is replaced by its neighbour: a
ReLU's zeros cost nothing.

Written with cumulative sums, KL needs the level's boundaries only, so a candidate costs O(levels) and not O(bins).
"""

from typing import TYPE_CHECKING

import numpy as np

from workloads.quantize.calibration.ranges.minmax import clamped
from workloads.quantize.calibration.scale import Levels, Range
from workloads.quantize.calibration.statistics import TensorStatistics

if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Reals = npt.NDArray[np.float64]

FIRST = 128  # the narrowest threshold, in bins: NVIDIA's start_bin
# What cumulative sums may differ by from the plain sum; the candidates that close to the best are compared by the
# plain one.
ROUNDING = 1e-9
BATCH = 512  # candidates at once: bounds the scratch memory to a few MiB


def entropy(statistics: TensorStatistics, levels: Levels, row: int = 0) -> Range:
    """Threshold T of the magnitudes, as the range (-T, T) within what was seen.

    As many levels as magnitudes have: all of an unsigned integer's when no value is negative, else half of them.
    """
    low, high = float(statistics.minimum[row]), float(statistics.maximum[row])
    one_sided = not levels.symmetric and (low >= 0 or high <= 0)
    count = levels.greatest - levels.least + 1
    magnitudes = 1 << (count - 1).bit_length() - (0 if one_sided else 1)
    folded = statistics.histogram.folded(row)
    used = int(np.flatnonzero(folded)[-1]) + 1
    threshold = best_threshold(folded[:used], magnitudes) * statistics.histogram.width(row)
    return clamped(Range(-threshold, threshold), statistics, row)


def best_threshold(counts: "Counts", levels: int) -> int:
    """Number of the bins [0, n) of magnitudes that the range should keep; the last of equals.

    All when there is nothing to choose.
    """
    counts = counts.copy()
    if len(counts) > 1:
        counts[0] = counts[1]
    first = max(FIRST, levels // 2)
    if len(counts) <= first or counts.sum() == 0:
        return len(counts)
    candidates = np.arange(first, len(counts) + 1)
    divergences = np.concatenate(
        [_divergences(counts, part, levels) for part in np.array_split(candidates, -(-len(candidates) // BATCH))]
    )
    best = float(divergences.min())
    if not np.isfinite(best):
        return len(counts)
    close = candidates[divergences <= best + ROUNDING]
    exact = [divergence(counts, int(candidate), levels) for candidate in close]
    return int(close[len(exact) - 1 - int(np.argmin(exact[::-1]))])


def divergence(counts: "Counts", kept: int, levels: int) -> float:
    """KL(P || Q) in nats for one threshold, straight from the definition."""
    p = counts[:kept].astype(np.float64)
    level = np.arange(kept) * levels // kept
    filled = p > 0
    mass = np.bincount(level, weights=p, minlength=levels)
    bins = np.bincount(level[filled], minlength=levels)
    q = np.where(filled, mass[level] / np.maximum(bins[level], 1), 0.0)
    p[-1] += counts[kept:].sum()
    p, q, used = p / p.sum(), q / q.sum() if q.any() else q, p > 0
    if (q[used] == 0).any():
        return float("inf")
    return float((p[used] * np.log(p[used] / q[used])).sum())


def _divergences(counts: "Counts", candidates: "npt.NDArray[np.int64]", levels: int) -> "Reals":
    """`divergence` of many thresholds.

    With N values in all and M of them kept, N * KL = sum p log p - sum p log q - N log(N / M).
    """
    mass = np.concatenate([[0], np.cumsum(counts)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    p_log_p = np.concatenate([[0.0], np.cumsum(_x_log_x(counts.astype(np.float64)))])
    total, last = int(mass[-1]), counts[candidates - 1]
    outside = total - mass[candidates]
    # Bin k belongs to level k * levels // kept, so level j begins at ceil(j * kept / levels).
    edges = -(-np.arange(levels + 1) * candidates[:, None] // levels)
    level_mass = np.diff(mass[edges], axis=1).astype(np.float64)
    level_bins = np.diff(filled[edges], axis=1)
    log_q = np.log(np.where(level_mass > 0, level_mass, 1.0) / np.maximum(level_bins, 1))
    level_mass[:, -1] += outside
    own = p_log_p[candidates - 1] + _x_log_x((last + outside).astype(np.float64))
    kept = np.maximum(mass[candidates], 1)
    result: Reals = (own - (level_mass * log_q).sum(axis=1)) / total - np.log(total / kept)
    # Outliers put mass into a last bin that Q leaves empty: no such Q can stand for P.
    result[(last == 0) & (outside > 0)] = np.inf
    return result


def _x_log_x(x: "Reals") -> "Reals":
    return x * np.log(np.where(x > 0, x, 1.0))
