"""Slow, plain implementations of what the calibrators search: one loop per sentence of the definition."""

import numpy as np
from scipy.stats import entropy

from workloads.quantize.calibration.scale import Levels, Range, fake_quantize, scale_and_zero_point


def kl_divergence(counts: np.ndarray, kept: int, levels: int) -> float:
    """KL(P || Q) of a threshold after `kept` bins, as in GTC 2017 s7310 slide 38.

    Scipy computes the divergence itself.
    """
    p = counts[:kept].astype(np.float64)
    q = np.zeros(kept)
    edges = np.linspace(0, kept, levels + 1)
    for level in range(levels):
        bins = [k for k in range(kept) if edges[level] <= k < edges[level + 1] and counts[k] > 0]
        if bins:
            q[bins] = counts[bins].sum() / len(bins)
    p[-1] += counts[kept:].sum()
    return float(entropy(p, q))


def kl_threshold(counts: np.ndarray, levels: int, first: int) -> int:
    """The number of bins with the least divergence, the last of equals."""
    counts = counts.copy()
    counts[0] = counts[1]
    candidates = list(range(first, len(counts) + 1))
    divergences = np.array([kl_divergence(counts, kept, levels) for kept in candidates])
    return candidates[len(candidates) - 1 - int(np.argmin(divergences[::-1]))]


def mean_squared_error(values: np.ndarray, found: Range, levels: Levels) -> float:
    """Of real values, quantized one by one."""
    scale, zero = scale_and_zero_point(found, levels)
    return float(((fake_quantize(values, scale, zero, levels).astype(np.float64) - values) ** 2).mean())
