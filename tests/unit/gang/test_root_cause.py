"""Whose failure came first?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.gang.rules.root_cause import first_failure
from slipway.reconcile.pods.observed import observe_pod
from tests.unit.reconcile.pods import ended, pod, running

NOW = datetime(2026, 11, 1, 12, 0, 10, tzinfo=UTC)


def _seconds(late: float) -> str:
    return (datetime(2026, 11, 1, 12, 0, tzinfo=UTC) + timedelta(seconds=late)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("first", "second", "culprit"),
    [
        (ended(1, finished=_seconds(0)), ended(137, finished=_seconds(1)), "b"),
        (ended(1, finished=_seconds(0)), ended(137, "OOMKilled", finished=_seconds(1)), "b"),
        (ended(1, finished=_seconds(0)), ended(137, finished=_seconds(9)), "a"),
        (ended(1, finished=_seconds(0)), ended(134, finished=_seconds(1)), "a"),
        (ended(1, finished=_seconds(3)), ended(1, finished=_seconds(2)), "b"),
        (ended(1, finished=_seconds(2)), ended(1, finished=_seconds(2)), "a"),
    ],
    ids=["a kill explains an error", "so does OOM", "but not much later", "SIGABRT is a consequence", "time", "name"],
)
def test_who_failed_first(first: dict[str, Any], second: dict[str, Any], culprit: str) -> None:
    found = first_failure([observe_pod(pod("a", **first), NOW), observe_pod(pod("b", **second), NOW)])
    assert found is not None
    assert found.pod == culprit


def test_nobody_failed() -> None:
    assert first_failure([observe_pod(pod(**running()), NOW)]) is None
