"""Statistics that calibration keeps of each tensor.

Extremes, a histogram and batch extremes: one pass serves every method.

The size does not depend on how many samples were seen. Merging is exact, so the result is the same for any sharding.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import Corrupt
from workloads.quantize.calibration.histogram import TENSOR_BITS, Histogram

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[np.float32]

FORMAT_VERSION = 1
# Every finite float32 is a whole multiple of 2^-149: sums of them kept as Python integers are exact in any order.
FIXED_POINT = 149


class TensorStatistics:
    """Statistics of one tensor: `rows` is 1, or its number of channels."""

    def __init__(self, rows: int = 1, bits: int = TENSOR_BITS) -> None:
        self.histogram = Histogram(rows, bits)
        self.minimum: Values = np.full(rows, np.inf, dtype=np.float32)
        self.maximum: Values = np.full(rows, -np.inf, dtype=np.float32)
        self.count = 0
        self.not_finite = 0
        self.batches = 0
        self.minimum_sums = [0] * rows
        self.maximum_sums = [0] * rows

    def add(self, values: "npt.NDArray[Any]") -> "tuple[Values, Values]":
        """Count values [rows, n] in float32; what is not finite is counted apart.

        Returns the least and greatest of each row.

        ValueError for values that are not finite in one of several rows: these are weights, which have no excuse.
        """
        # Beyond float32's range is not finite for the runtime either.
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            if len(values) > 1:
                raise ValueError("values that are not finite")
            self.not_finite += int(values.size - finite.sum())
            values = values[finite][None]
        if values.size == 0:
            return np.full(len(values), np.inf, np.float32), np.full(len(values), -np.inf, np.float32)
        low, high = values.min(axis=1), values.max(axis=1)
        self.minimum, self.maximum = np.minimum(self.minimum, low), np.maximum(self.maximum, high)
        self.count += values.size
        self.histogram.add(values)
        return low, high

    def end_batch(self, low: "Values", high: "Values") -> None:
        """Note the extremes of one batch, for the moving average; a batch without finite values does not count."""
        if np.isfinite(low).all() and np.isfinite(high).all():
            self.batches += 1
            self.minimum_sums = [before + fixed(value) for before, value in zip(self.minimum_sums, low, strict=True)]
            self.maximum_sums = [before + fixed(value) for before, value in zip(self.maximum_sums, high, strict=True)]

    def mean_extremes(self, row: int = 0) -> tuple[float, float]:
        """Mean of the batches' least and greatest values."""
        scale = self.batches << FIXED_POINT
        return float(Fraction(self.minimum_sums[row], scale)), float(Fraction(self.maximum_sums[row], scale))

    def merge(self, other: "TensorStatistics") -> None:
        """Add what another has seen of the same tensor."""
        self.histogram.merge(other.histogram)
        self.minimum, self.maximum = np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum)
        self.count += other.count
        self.not_finite += other.not_finite
        self.batches += other.batches
        self.minimum_sums = [a + b for a, b in zip(self.minimum_sums, other.minimum_sums, strict=True)]
        self.maximum_sums = [a + b for a, b in zip(self.maximum_sums, other.maximum_sums, strict=True)]


def fixed(value: Any) -> int:
    """A float32 as a whole number of 2^-149."""
    numerator, denominator = float(value).as_integer_ratio()
    return (numerator << FIXED_POINT) // denominator


Statistics = dict[str, TensorStatistics]


def merge(into: Statistics, other: Statistics) -> None:
    """Add one shard's statistics to another's; a tensor that only one has seen is taken as it is."""
    for name, statistics in other.items():
        if name in into:
            into[name].merge(statistics)
        else:
            into[name] = statistics


def save(path: Path, statistics: Statistics, about: Mapping[str, Any]) -> None:
    """Write one .npz, whole or not at all.

    `about` is plain JSON: what the statistics were made from and how far they are.
    """
    header: dict[str, Any] = {"formatVersion": FORMAT_VERSION, "about": dict(about), "tensors": []}
    arrays: dict[str, Any] = {}
    for index, (name, tensor) in enumerate(statistics.items()):
        scalars = {"count": tensor.count, "notFinite": tensor.not_finite, "batches": tensor.batches}
        # As text: JSON readers may cut integers of hundreds of bits.
        sums = {
            "minimumSums": [str(s) for s in tensor.minimum_sums],
            "maximumSums": [str(s) for s in tensor.maximum_sums],
        }
        header["tensors"].append({"name": name, **scalars, **sums})
        arrays[f"counts{index}"], arrays[f"exponents{index}"] = tensor.histogram.counts, tensor.histogram.exponents
        arrays[f"extremes{index}"] = np.stack([tensor.minimum, tensor.maximum])
    staged = path.with_name(f".{path.name}.partial")
    with staged.open("wb") as stream:
        np.savez_compressed(stream, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
    staged.rename(path)


def load(path: Path) -> tuple[Statistics, dict[str, Any]]:
    """Read what `save` wrote. Corrupt when it is something else or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["formatVersion"] != FORMAT_VERSION:
                raise ValueError(f"format version {header['formatVersion']}")
            return {row["name"]: _restored(row, index, arrays) for index, row in enumerate(header["tensors"])}, header[
                "about"
            ]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise Corrupt(f"{path}: no calibration statistics ({error})") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error have no common base below Exception
        raise Corrupt(f"{path}: damaged ({error})") from error


def _restored(row: Mapping[str, Any], index: int, arrays: Mapping[str, Any]) -> TensorStatistics:
    histogram = Histogram.restore(arrays[f"counts{index}"], arrays[f"exponents{index}"])
    tensor = TensorStatistics(len(histogram.counts), histogram.bits)
    tensor.histogram = histogram
    tensor.minimum, tensor.maximum = arrays[f"extremes{index}"]
    tensor.count, tensor.not_finite, tensor.batches = row["count"], row["notFinite"], row["batches"]
    tensor.minimum_sums = [int(text) for text in row["minimumSums"]]
    tensor.maximum_sums = [int(text) for text in row["maximumSums"]]
    return tensor
