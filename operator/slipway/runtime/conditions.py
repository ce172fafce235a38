"""Pure functions on `status.conditions` (a list-map keyed by `type`) and on the API's times. Called by the kinds.

A condition is {type, status: "True" | "False" | "Unknown", reason, message, lastTransitionTime, observedGeneration?}.
No function changes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

MESSAGE_LIMIT = 1024
"""Characters in a condition's message; CRDs bound it, and an over-long one would fail the whole status write."""

Condition = dict[str, Any]


def set_condition(
    conditions: Iterable[Mapping[str, Any]],
    type: str,  # noqa: A002  (the API's name for it)
    status: str,
    reason: str,
    message: str,
    now: datetime,
    observed_generation: int | None = None,
) -> list[Condition]:
    """The list with this condition set, the others as they were. lastTransitionTime moves only if `status` flips."""
    result = [dict(condition) for condition in conditions]
    old = get(result, type)
    flipped = old is None or old.get("status") != status
    new: Condition = {
        "type": type,
        "status": status,
        "reason": str(reason),
        "message": shorten(message),
        "lastTransitionTime": format_time(now) if flipped or old is None else old["lastTransitionTime"],
    }
    if observed_generation is not None:
        new["observedGeneration"] = observed_generation
    if old is None:
        return [*result, new]
    return [new if condition is old else condition for condition in result]


def remove(conditions: Iterable[Mapping[str, Any]], type: str) -> list[Condition]:  # noqa: A002
    """The list without this condition: abnormal-true ones (Stalled, Reconciling) are absent when all is well."""
    return [dict(condition) for condition in conditions if condition.get("type") != type]


def get(conditions: Iterable[Mapping[str, Any]], type: str) -> Condition | None:  # noqa: A002
    """The condition of this type as it is in the list, or None."""
    return next((c for c in conditions if c.get("type") == type), None)  # type: ignore[return-value]


def is_true(conditions: Iterable[Mapping[str, Any]], type: str) -> bool:  # noqa: A002
    """Tell whether the condition is there and its status is "True"."""
    condition = get(conditions, type)
    return condition is not None and condition.get("status") == "True"


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text, its end replaced by an ellipsis where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def last_words(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text, its beginning replaced where it is too long: a program says at the end what it died of."""
    return text if len(text) <= limit else "…" + text[1 - limit :]


def format_time(moment: datetime) -> str:
    """metav1.Time: RFC 3339 in UTC, whole seconds (rounded down), "Z". Refuses naive times, whose zone is a guess."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    # Not by strftime, whose years before 1000 have fewer than four digits and are no times for the server.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def format_micro_time(moment: datetime) -> str:
    """metav1.MicroTime, as Leases and Events carry it: six digits of fraction."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """Parse a time in RFC 3339, with a fraction or without; the result is in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text!r}")
    return moment.astimezone(UTC)
