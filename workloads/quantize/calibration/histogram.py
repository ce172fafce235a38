"""Histogram of a tensor's values, the same whoever saw them and in whichever order. Used by the calibration statistics.

Bins are dyadic: a row covers [-2^e, 2^e) with 2^bits bins on each side of zero, so a bin is 2^(e-bits) wide and every
bin at e+1 is exactly two bins at e. The exponent of a row is that of its largest magnitude. Hence adding is associative
and commutative to the last count: any split into batches, shards or restarts gives the same histogram, in a fixed
memory.
(ONNX Runtime's collectors fix the bin width by the first batch, so their result depends on the order.)
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Exponents = npt.NDArray[np.int64]
    Values = npt.NDArray[np.float32]

# Between 2048 and 4096 bins up to the largest magnitude, since that lies in the upper half of the power of two.
TENSOR_BITS = 12
CHANNEL_BITS = 10
# Of a row that has seen nothing but zeros: below the exponent of float32's smallest number, 2^-149 = 0.5 * 2^-148.
EMPTY = -200
CHUNK = 1 << 20  # values worked on at once: bounds the scratch memory


class Histogram:
    """Counts [rows, 2 * 2^bits] of finite float32 values; a row is a tensor, or one channel of it."""

    def __init__(self, rows: int, bits: int) -> None:
        self.bits = bits
        self.counts: Counts = np.zeros((rows, 2 << bits), dtype=np.int64)
        self.exponents: Exponents = np.full(rows, EMPTY, dtype=np.int64)

    @classmethod
    def restore(cls, counts: "Counts", exponents: "Exponents") -> "Histogram":
        """Restore a saved histogram; ValueError when the arrays do not belong together."""
        rows, bins = counts.shape
        if len(exponents) != rows or bins < 4 or bins & (bins - 1):
            raise ValueError(f"{counts.shape} counts and {exponents.shape} exponents are no histogram")
        histogram = cls(rows, bins.bit_length() - 2)
        histogram.counts[:], histogram.exponents[:] = counts, exponents
        return histogram

    @property
    def half(self) -> int:
        """Bins on each side of zero."""
        return 1 << self.bits

    def width(self, row: int = 0) -> float:
        """Width of each bin of a row."""
        return float(np.ldexp(1.0, int(self.exponents[row]) - self.bits))

    def add(self, values: "Values") -> None:
        """Count values [rows, n]."""
        step = max(1, CHUNK // len(self.counts))
        for start in range(0, values.shape[1], step):
            self._add(values[:, start : start + step].astype(np.float64))

    def _add(self, values: "npt.NDArray[np.float64]") -> None:
        self._grow(exponents_of(np.abs(values).max(axis=1)))
        # A power of two: the product is exact, in float64 even for float32's subnormal numbers.
        values *= np.ldexp(1.0, self.bits - self.exponents)[:, None]
        index = np.floor(values, out=values).astype(np.int64)
        index += np.arange(len(self.counts))[:, None] * (2 * self.half) + self.half
        self.counts += np.bincount(index.reshape(-1), minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"histograms of {self.counts.shape} and {other.counts.shape} bins do not belong together")
        grown = Histogram.restore(other.counts, other.exponents)
        grown._grow(self.exponents)
        self._grow(other.exponents)
        self.counts += grown.counts

    def _grow(self, exponents: "Exponents") -> None:
        """Widen each row to at least this exponent."""
        for row in np.flatnonzero(exponents > self.exponents):
            shift = int(exponents[row] - self.exponents[row])
            self.counts[row] = _coarser(self.counts[row], min(shift, self.bits))
            self.exponents[row] = exponents[row]

    def folded(self, row: int = 0) -> "Counts":
        """The histogram [2^bits] of magnitudes.

        Bin k holds k * width <= |x| < (k+1) * width, up to values that are exactly an edge.
        """
        counts = self.counts[row]
        folded: Counts = counts[self.half :] + counts[: self.half][::-1]
        return folded


def exponents_of(magnitudes: "npt.NDArray[np.float64]") -> "Exponents":
    """The smallest e with magnitude < 2^e; EMPTY for zero."""
    exponents = np.frexp(magnitudes)[1].astype(np.int64)
    exponents[magnitudes == 0] = EMPTY
    return exponents


def _coarser(counts: "Counts", shift: int) -> "Counts":
    """One row with bins 2^shift times as wide; zero stays an edge, so the sides never mix."""
    half = len(counts) // 2
    kept = half >> shift
    result = np.zeros_like(counts)
    result[half - kept : half] = counts[:half].reshape(kept, -1).sum(axis=1)
    result[half : half + kept] = counts[half:].reshape(kept, -1).sum(axis=1)
    return result
