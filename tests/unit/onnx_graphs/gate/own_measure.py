"""Measures as a user writes them, and as a user should not."""

from __future__ import annotations

from typing import Any

import numpy as np


def score(given: Any, wanted: Any) -> Any:
    """Share of the numbers that are within a tenth of the largest."""
    near = np.abs(given - wanted) <= 0.1 * np.abs(wanted).max()
    return near.reshape(len(near), -1).mean(1)


def failing(given: Any, wanted: Any) -> Any:
    return given / undefined  # type: ignore[name-defined]  # noqa: F821


def too_large(given: Any, wanted: Any) -> Any:
    return np.full(len(given), 100.0)


def one_for_all(given: Any, wanted: Any) -> Any:
    return 0.5
