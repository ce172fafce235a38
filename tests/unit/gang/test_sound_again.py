"""InvalidSpec does not outlast what was wrong: a CRD or an operator may change while nobody edits the job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.gang.status_endpoint import StatusEndpoint
from slipway.runtime import conditions
from slipway.runtime.conditions import format_time
from slipway.trainingjob.job import Platform
from slipway.trainingjob.plan import plan

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def look(spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "j", "namespace": "n", "uid": "u", "generation": 1}
    return (
        plan({"metadata": metadata, "spec": spec, "status": status}, [], Platform("i", StatusEndpoint()), NOW).status
        or {}
    )


def test_a_job_that_waits_for_its_next_attempt_is_not_told_to_be_wrong_for_ever() -> None:
    """The rule that waits out a pause wrote no condition: the operator's old InvalidSpec stayed beside it."""
    wrong = look({"trainer": {"image": "x"}}, {})
    stalled = conditions.get(wrong["conditions"], "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "InvalidSpec"
    later = format_time(NOW + timedelta(seconds=60))
    pausing = {**wrong, "attempt": 1, "restartCount": 1, "backoff": {"restarts": 2, "nextAttemptTime": later}}
    right = look({"trainer": {"image": "x", "command": ["train"]}}, pausing)
    assert conditions.get(right["conditions"], "Stalled") is None
    ready = conditions.get(right["conditions"], "Ready")
    assert ready is not None
    assert ready["status"] == "Unknown"
