"""Ranges of a tensor's values that the integers shall cover, one method a file."""

from workloads.quantize.calibration.ranges.choice import (
    find,
)

__all__ = [
    "find",
]
