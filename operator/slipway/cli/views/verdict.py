"""Verdict on a resource, in words for people and as an exit code for scripts. Pure."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from slipway.runtime import conditions


class Exit(IntEnum):
    """Exit codes of `slipway`; 2 is a wrong command line, as everywhere."""

    READY = 0
    FAILED = 1
    COMMAND = 2
    IN_PROGRESS = 3
    NOT_THERE = 4
    CLUSTER = 5


def verdict(obj: Mapping[str, Any]) -> Exit:
    """Exit code for the state of a resource.

    READY: succeeded or serving. FAILED: somebody has to do something. Else IN_PROGRESS, as suspended ones are.
    """
    status = obj.get("status") or {}
    marks = status.get("conditions") or []
    if status.get("observedGeneration") != obj["metadata"].get("generation"):
        return Exit.IN_PROGRESS
    if conditions.is_true(marks, "Failed") or conditions.is_true(marks, "Stalled"):
        return Exit.FAILED
    return Exit.READY if conditions.is_true(marks, "Ready") else Exit.IN_PROGRESS


def headline(obj: Mapping[str, Any]) -> str:
    """Reason and message of the condition Ready."""
    ready = conditions.get((obj.get("status") or {}).get("conditions") or [], "Ready")
    return f"{ready['reason']}: {ready.get('message', '')}" if ready else "no status yet"
