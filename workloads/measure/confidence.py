"""Confidence of a difference between two models on the same samples.

Paired statistics; only samples on which they differ tell.

Interval: Newcombe 1998 (Statistics in Medicine 17:2635-2650), method 10, the square-and-add of two Wilson intervals
with the pairs' correlation; it stays honest for few disagreements, where the normal interval does not. Test: McNemar
1947, exact binomial.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Counts of samples on which both models were right, only the first, only the second, none."""

    both: int
    first: int
    second: int
    none: int

    @classmethod
    def of(cls, first: "Right", second: "Right") -> "Pairs":
        """Counts from the right answers of two models, sample by sample."""
        both, only_first = int((first & second).sum()), int((first & ~second).sum())
        only_second = int((~first & second).sum())
        return cls(both, only_first, only_second, len(first) - both - only_first - only_second)

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.both + self.first + self.second + self.none

    @property
    def drop(self) -> float:
        """Share of right answers of the first model minus that of the second."""
        return (self.first - self.second) / self.count


@dataclass(frozen=True)
class Difference:
    """A figure of the first model, how much less the second has, and the interval of that."""

    reference: float
    drop: float
    low: float
    high: float

    @classmethod
    def of(cls, pairs: Pairs, confidence: float) -> "Difference":
        """Difference of two shares of right answers."""
        return cls((pairs.both + pairs.first) / pairs.count, pairs.drop, *drop_interval(pairs, confidence))

    @property
    def second(self) -> float:
        """The second model's figure."""
        return self.reference - self.drop


def wilson(right: int, count: int, confidence: float) -> tuple[float, float]:
    """Interval of a share (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def drop_interval(pairs: Pairs, confidence: float) -> tuple[float, float]:
    """Interval of `pairs.drop`."""
    a, b, c, d = pairs.both, pairs.first, pairs.second, pairs.none
    n = pairs.count
    p1, p2 = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = wilson(a + b, n, confidence), wilson(a + c, n, confidence)
    phi = _correlation(a, b, c, d)
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2
    return max(-1.0, pairs.drop - math.sqrt(max(0.0, below))), min(1.0, pairs.drop + math.sqrt(max(0.0, above)))


def _correlation(a: int, b: int, c: int, d: int) -> float:
    """Correlation of the pairs, corrected for continuity as Newcombe's method 10 does."""
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    excess: float = a * d - b * c
    if excess > 0:
        excess = max(0.0, excess - (a + b + c + d) / 2)
    return excess / math.sqrt(product)


def mcnemar(pairs: Pairs) -> float:
    """Two-sided exact p-value of the two models being equally good."""
    differing, least = pairs.first + pairs.second, min(pairs.first, pairs.second)
    if differing == 0:
        return 1.0
    log_half = differing * math.log(2)
    tail = sum(math.exp(_log_choose(differing, k) - log_half) for k in range(least + 1))
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def median_interval(values: "npt.NDArray[np.float64]", confidence: float) -> tuple[float, float, float]:
    """Median and its distribution-free interval from the order statistics (normal approximation of the ranks)."""
    ordered = np.sort(values)
    n = len(ordered)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(n) / 2
    low, high = math.floor(n / 2 - reach), math.ceil(n / 2 + reach)
    return float(np.median(ordered)), float(ordered[max(0, low)]), float(ordered[min(n - 1, high)])
