"""The time of day, for whoever is handed a clock and gets none in a test."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Current time in UTC, with its zone, as conditions want it."""
    return datetime.now(UTC)


def running_seconds() -> float:
    """Seconds since some moment, for durations."""
    return time.perf_counter()
