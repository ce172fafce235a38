"""Ages and durations as people read them. Pure."""

from datetime import datetime

from slipway.runtime.conditions import parse_time


def duration(seconds: int) -> str:
    """Text of a duration: 3725 -> 1 h 2 min."""
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds % 3600 // 60
    if days > 1:
        return f"{days} d"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def age(time: str | None, now: datetime) -> str:
    """Text of the time that has gone by since an API time; empty without one, and 0 s for a clock ahead of ours."""
    return duration(max(0, int((now - parse_time(time)).total_seconds()))) if time else ""
