"""Scale and zero point of a range, and what is left of a number after quantization.

Used by search, QAT and tests.

The arithmetic is ONNX Runtime's, number for number: the library computes the scales of the graphs it rewrites from our
ranges, and what we predict here must be what it writes there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Levels:
    """The integers that stand for a number: least and greatest one, and whether zero must be in the middle."""

    least: int
    greatest: int
    symmetric: bool

    @property
    def middle(self) -> int:
        """Zero point of a symmetric range; a half rounds to even."""
        return round((self.least + self.greatest) / 2)

    @classmethod
    def of(cls, bits: int, *, signed: bool, symmetric: bool, reduced: bool = False) -> "Levels":
        """Levels of a `bits` wide integer.

        Symmetric signed leaves out the least one (-128); `reduced` saves one bit (-64 to 64, 0 to 127),
        so that two products of a kernel without VNNI add up in 16 bits."""
        if reduced:
            half = 1 << (bits - 2)
            return cls(-half, half, symmetric) if signed else cls(0, 2 * half - 1, symmetric)
        if not signed:
            return cls(0, (1 << bits) - 1, symmetric)
        half = 1 << (bits - 1)
        return cls(-half + 1 if symmetric else -half, half - 1, symmetric)


UINT8 = Levels.of(8, signed=False, symmetric=False)
INT8 = Levels.of(8, signed=True, symmetric=True)


@dataclass(frozen=True)
class Range:
    """The real numbers that the integers shall cover; what is outside is clipped."""

    low: float
    high: float


def scale_and_zero_point(values: Range, levels: Levels) -> tuple[float, int]:
    """Scale (a float32) and zero point of `x = scale * (q - zero_point)`; zero is always represented exactly."""
    # Double before the subtraction: the difference of two finite floats may overflow.
    low, high = float(np.float32(min(values.low, 0.0))), float(np.float32(max(values.high, 0.0)))
    if levels.symmetric:
        high = max(-low, high)
        low = -high
    scale = (high - low) / (levels.greatest - levels.least)
    if scale < float(np.finfo(np.float32).tiny):
        return 1.0, 0
    return float(np.float32(scale)), levels.middle if levels.symmetric else round(levels.least - low / scale)


def fake_quantize(x: "npt.NDArray[Any]", scale: float, zero_point: int, levels: Levels) -> "npt.NDArray[np.float32]":
    """Quantize and back: what integer arithmetic sees of float32 `x`. Halves round to even, as QuantizeLinear does."""
    quantized = np.rint(x.astype(np.float32) / np.float32(scale)) + zero_point
    result: npt.NDArray[np.float32] = (
        (np.clip(quantized, levels.least, levels.greatest) - zero_point) * np.float32(scale)
    ).astype(np.float32)
    return result
