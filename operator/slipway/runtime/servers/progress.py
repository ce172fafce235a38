"""Reports of pods on their training, and the pace at which they are heard. Pure; used by progress_server and main.

In KEP-2779's wire format a pod POSTs {"trainerStatus": {"progressPercentage": 0..100, "estimatedRemainingSeconds":
>= 0, "metrics": [{"name", "value"}], "lastUpdatedTime": RFC 3339}}. Every field but the last may be missing. The bounds
are those of Kubeflow Trainer's TrainerStatus (trainjob_types.go), so whoever posts to Trainer (the Hugging Face
callback, Kubeflow's SDK) may post here;
fields that we don't know are ignored, as Trainer does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from slipway.runtime.conditions import format_time, parse_time

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_METRICS = 256
MAX_TEXT = 64
MAX_INT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Report:
    """One valid post. `metrics` by name, each value a text, the last of two of the same name; times as metav1.Time."""

    percent: int | None
    remaining_seconds: int | None
    metrics: Mapping[str, str]
    updated_time: str

    def wire(self) -> dict[str, Any]:
        """The body that says the same: what the endpoint answers."""
        status: dict[str, Any] = {"lastUpdatedTime": self.updated_time}
        if self.percent is not None:
            status["progressPercentage"] = self.percent
        if self.remaining_seconds is not None:
            status["estimatedRemainingSeconds"] = self.remaining_seconds
        if self.metrics:
            status["metrics"] = [{"name": name, "value": value} for name, value in self.metrics.items()]
        return {"trainerStatus": status}


def parse_report(body: bytes) -> Report | None:
    """A post's body; None if it says nothing (no trainerStatus). Raises ValueError with words for the sender."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("the body must be a JSON object")
    status = document.get("trainerStatus")
    if status is None:
        return None
    if not isinstance(status, dict):
        raise ValueError("trainerStatus must be an object")
    return Report(
        percent=_whole(status, "progressPercentage", 100),
        remaining_seconds=_whole(status, "estimatedRemainingSeconds", MAX_INT),
        metrics=_metrics(status.get("metrics")),
        updated_time=_time(status.get("lastUpdatedTime")),
    )


def _whole(status: Mapping[str, Any], field: str, most: int) -> int | None:
    value = status.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"trainerStatus.{field} must be a whole number from 0 to {most}")
    return value


def _metrics(entries: Any) -> dict[str, str]:
    if entries is None:
        return {}
    if not isinstance(entries, list) or len(entries) > MAX_METRICS:
        raise ValueError(f"trainerStatus.metrics must be a list of at most {MAX_METRICS}")
    metrics: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"trainerStatus.metrics[{number}] must be an object")
        metrics[_text(entry, "name", number)] = _text(entry, "value", number)
    return metrics


def _text(entry: Mapping[str, Any], field: str, number: int) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise ValueError(f"trainerStatus.metrics[{number}].{field} must be a text of 1 to {MAX_TEXT} characters")
    return value


def _time(value: Any) -> str:
    """Parse a report's time into UTC and whole seconds, as a status holds it. Raises ValueError."""
    try:
        return format_time(parse_time(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("trainerStatus.lastUpdatedTime must be a time in RFC 3339 with a zone") from None


class Coalescer(Generic[K, V]):
    """The newest value of each key, and a mark of the key at most every `interval` seconds, the last value included.

    It survives nothing: after a restart the next post fills it again.
    """

    def __init__(
        self,
        mark_after: Callable[[K, float], None],
        *,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mark_after` is the queue's."""
        self._mark_after = mark_after
        self._interval = interval
        self._clock = clock
        self._newest: dict[K, V] = {}
        self._due: dict[K, float] = {}  # when the key was, or will be, marked last

    def put(self, key: K, value: V) -> None:
        """Keep this value and have the key reconciled, soon enough but not too often."""
        now = self._clock()
        self._newest[key] = value
        last = self._due.get(key, float("-inf"))
        if last <= now:
            self._due[key] = max(now, last + self._interval)
            self._mark_after(key, self._due[key] - now)

    def get(self, key: K) -> V | None:
        """The newest value, or None."""
        return self._newest.get(key)

    def forget(self, key: K) -> None:
        """The key is gone, or what it said is void (a new attempt)."""
        self._newest.pop(key, None)
        self._due.pop(key, None)
