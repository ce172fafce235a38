"""The time of day, for whoever is handed a clock and gets none in a test."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """With its zone, as conditions want it."""
    return datetime.now(UTC)
