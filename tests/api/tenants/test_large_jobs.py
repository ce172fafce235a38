"""A tenant's suspended jobs, as large as the schema allows: they fill his namespace's share and nothing else."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.stage import JOBS, PATIENCE, Stage, condition

pytestmark = pytest.mark.api

HOSTILE, HONEST = "large", "small"
SHARE_MIB = 4
# Half a MiB each: what the arguments of a command may have.
ARGS = [f"{number:04}" + "x" * 4090 for number in range(128)]
# The share, what one page of a LIST takes, and what Python does not give back of it.
ROOM_MIB = 60


def create(stage: Stage, number: int) -> None:
    trainer: dict[str, Any] = {"image": "x", "command": ["train"], "args": ARGS}
    stage.create(HOSTILE, f"large-{number}", runPolicy={"suspend": True}, trainer=trainer)


def told(stage: Stage, name: str) -> str:
    return (condition(stage.job(HOSTILE, name).get("status") or {}, "Stalled") or {}).get("reason", "")


@pytest.mark.parametrize("count", [14, *(pytest.param(count, marks=pytest.mark.slow) for count in (24, 100))])
def test_large_jobs_of_one_tenant_leave_memory_and_time_to_others(
    stage: Stage, operators: Callable[..., Operator], count: int
) -> None:
    for namespace in (HOSTILE, HONEST):
        stage.namespace(namespace)
    operator = operators(f"{HOSTILE},{HONEST}", SLIPWAY_NAMESPACE_MIB=str(SHARE_MIB))
    operator.ready()
    before = operator.rss_mib()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(create, stage), range(count)))
    stage.create(HONEST, "honest")
    stage.until_running(HONEST, "honest")
    after = operator.rss_mib()
    operator.kill()
    operator.start()
    operator.ready(120 * PATIENCE)
    stage.create(HONEST, "after-a-restart")
    stage.until_running(HONEST, "after-a-restart")
    print(f"{before:.0f} MiB, then {after:.0f}; {operator.rss_mib():.0f} after a restart")
    assert after - before < ROOM_MIB
    assert operator.rss_mib() - before < ROOM_MIB
    reasons = {f"large-{number}": told(stage, f"large-{number}") for number in range(count)}
    full = [name for name, reason in reasons.items() if reason == "NamespaceFull"]
    assert count - 2 * SHARE_MIB <= len(full) < count, "what fits is worked on, the rest is told"
    for number in range(count - 1):
        stage.delete(JOBS.format(HOSTILE), f"large-{number}")
    last = f"large-{count - 1}"
    deadline = time.monotonic() + 90 * PATIENCE
    while told(stage, last):
        assert time.monotonic() < deadline, "there is room, and nobody looked again"
        time.sleep(1)
    stage.until_condition(HOSTILE, last, "Suspended")
