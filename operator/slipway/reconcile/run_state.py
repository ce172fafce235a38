"""Run of a job, as its status remembers it: attempts, restarts, times. Parsed from the wire, read by the policies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.runtime import conditions
from slipway.runtime.conditions import parse_time

# All that a Run is read from.
RUN_FIELDS = (
    "attempt",
    "restartCount",
    "restartCountTowardsMax",
    "disruptionCount",
    "startTime",
    "queuedTime",
    "attemptTime",
    "runningTime",
    "activeSeconds",
    "completionTime",
    "lastFailure",
    "conditions",
)


@dataclass(frozen=True)
class RunState:
    """Persisted decisions on a job's run.

    `queued_time`: since when the attempt waits, or waited, for room. An absent `attempt_time` means that the attempt's
    pods have not all been created yet; `refused_time` is when the server first refused one of them. `running_time` is
    when the attempt first ran, `running_since` when what runs now began to: an elastic job that had too few nodes in
    between did not run meanwhile.
    """

    attempt: int
    restarts: int
    restarts_towards_max: int
    disruptions: int
    start_time: datetime | None
    queued_time: datetime | None
    attempt_time: datetime | None
    refused_time: datetime | None
    running_time: datetime | None
    running_since: datetime | None
    active_seconds: int
    completion_time: datetime | None
    failed_pod: str
    suspended: bool
    succeeded: bool
    failed: bool

    @property
    def finished(self) -> bool:
        """Tell whether the job has ended for good."""
        return self.succeeded or self.failed

    def active(self, now: datetime) -> int:
        """Seconds during which all pods were running, over all attempts."""
        current = int((now - self.running_since).total_seconds()) if self.running_since else 0
        return self.active_seconds + max(0, current)


def read_run(status: Mapping[str, Any]) -> RunState:
    """Read a status; an empty one is a job that nobody has looked at yet."""
    marks = status.get("conditions") or []
    return RunState(
        attempt=status.get("attempt") or 0,
        restarts=status.get("restartCount") or 0,
        restarts_towards_max=status.get("restartCountTowardsMax") or 0,
        disruptions=status.get("disruptionCount") or 0,
        start_time=_time(status, "startTime"),
        queued_time=_time(status, "queuedTime"),
        attempt_time=_time(status, "attemptTime"),
        refused_time=_refused_time(marks),
        running_time=_time(status, "runningTime"),
        running_since=_running_since(status, marks),
        active_seconds=status.get("activeSeconds") or 0,
        completion_time=_time(status, "completionTime"),
        failed_pod=(status.get("lastFailure") or {}).get("pod") or "",
        suspended=conditions.is_true(marks, "Suspended"),
        succeeded=conditions.is_true(marks, "Succeeded"),
        failed=conditions.is_true(marks, "Failed"),
    )


def _time(status: Mapping[str, Any], field: str) -> datetime | None:
    text = status.get(field)
    return parse_time(text) if text else None


def _running_since(status: Mapping[str, Any], marks: Sequence[Mapping[str, Any]]) -> datetime | None:
    if not status.get("runningTime") or not conditions.is_true(marks, "Running"):
        return None
    return parse_time((conditions.get(marks, "Running") or {})["lastTransitionTime"])


def _refused_time(marks: Sequence[Mapping[str, Any]]) -> datetime | None:
    created = conditions.get(marks, "Created")
    if created is None or created["status"] != "False":
        return None
    return parse_time(created["lastTransitionTime"])
