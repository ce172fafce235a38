"""Progress posts: what a pod says is read in a moment, and never keeps its job from telling anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from slipway.api.common.job_status import Progress
from slipway.gang.progress_reports import _progress
from slipway.runtime.conditions import format_time, parse_time
from slipway.runtime.servers.progress import parse_report
from slipway.runtime.servers.progress_server import MAX_BODY
from tests.unit.hostile.cost import assert_bounded

NOW = "2026-11-29T00:00:00Z"


def post(**status: Any) -> bytes:
    return json.dumps({"trainerStatus": {"lastUpdatedTime": NOW, **status}}).encode()


BODIES: dict[str, Callable[[int], bytes]] = {
    "depth": lambda n: b"[" * n,
    "objects": lambda n: b'{"trainerStatus":' * (n // 17),
    "metrics": lambda n: post(metrics=[{"name": "n", "value": "1"}] * (n // 27)),
    "names": lambda n: post(metrics=[{"name": "n" * (n // 256), "value": "1"}] * 256),
    "keys": lambda n: json.dumps({f"k{i}": 1 for i in range(n // 12)}).encode(),
    "digits": lambda n: b'{"trainerStatus":{"progressPercentage":' + b"9" * n + b"}}",
    "time": lambda n: post(lastUpdatedTime="2" * n),
    "escapes": lambda n: b'{"trainerStatus":{"lastUpdatedTime":"' + rb"\u0041" * (n // 6) + b'"}}',
    "spaces": lambda n: b" " * n,
}


@pytest.mark.parametrize("name", BODIES)
def test_no_post_costs_more_than_a_moment(name: str) -> None:
    def make(size: int) -> Callable[[], object]:
        body = BODIES[name](size)
        return lambda: parse_report(body)

    assert_bounded(make, MAX_BODY)


@pytest.mark.parametrize("step", ["9" * 64, str(2**31), "-1", "1e9", "1.5", "\u0661", ""])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_whatever_is_taken_fits_into_the_status(step: str, moment: str) -> None:
    """A step of 64 digits had the server refuse every status of its job; the year 1 had one that nobody could read."""
    values = {"step": step, "total_steps": step, "loss": step}
    metrics = [{"name": name, "value": value} for name, value in values.items() if value]
    report = parse_report(post(metrics=metrics, lastUpdatedTime=moment))
    assert report is not None
    told = _progress(report)
    Progress.model_validate(told)
    assert format_time(parse_time(told["lastUpdatedTime"])) == moment
    assert datetime.fromisoformat(told["lastUpdatedTime"]).tzinfo is not None
