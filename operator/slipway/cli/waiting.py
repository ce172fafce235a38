"""End of waiting for a resource: it is as wanted, or it can no longer become so. Pure; `slipway wait` asks."""

from collections.abc import Mapping
from typing import Any

from slipway.cli.views.verdict import Exit, verdict
from slipway.runtime import conditions

READY = "Ready"


def outcome(obj: Mapping[str, Any] | None, wanted: str) -> Exit | None:
    """Exit code, or None while it goes on. `wanted`: a condition's type, or `Deleted`; None stands for what is gone.

    A job that has failed never becomes ready: waiting ends there, where `kubectl wait` would sit out its time.
    """
    if obj is None:
        return Exit.READY if wanted == "Deleted" else Exit.NOT_THERE
    if wanted == "Deleted":
        return None
    status = obj.get("status") or {}
    marks = status.get("conditions") or []
    now = verdict(obj)
    current = status.get("observedGeneration") == obj["metadata"].get("generation")
    if current and conditions.is_true(marks, wanted) and (wanted != READY or now is Exit.READY):
        return Exit.READY
    ended = bool(status.get("completionTime"))
    return Exit.FAILED if now is Exit.FAILED or (ended and now is Exit.READY) else None
