"""Pauses between restarts that follow each other: three restarts within seconds used up the budget of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.types import Backoff
from slipway.gang.policy import backoff
from slipway.reconcile.run_state import read_run
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, names, run, status, to_next_due

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NEVER_RAN = read_run({})


def row(policy: Backoff, failures: int) -> list[float]:
    """The pauses of a gang that always fails at once."""
    told: dict[str, Any] = {}
    pauses = []
    for _ in range(failures):
        told = backoff.after_failure(policy, told, NEVER_RAN, NOW)
        pauses.append(backoff.seconds_left(policy, told, NOW))
    return pauses


def test_the_first_restart_comes_at_once_and_each_further_one_after_twice_the_pause() -> None:
    assert row(Backoff(), 9) == [0, 10, 20, 40, 80, 160, 320, 360, 360]
    assert row(Backoff(seconds=0), 4) == [0, 0, 0, 0]


@given(st.integers(0, 3600), st.integers(0, 86400), st.integers(1, 200))
def test_pauses_grow_up_to_the_longest(seconds: int, most: int, failures: int) -> None:
    pauses = row(Backoff(seconds=seconds, max_seconds=most), failures)
    assert pauses == sorted(pauses)
    assert pauses[-1] <= most


def test_a_long_healthy_run_ends_the_row() -> None:
    policy, told = Backoff(), {"restarts": 5}
    healthy = replace(NEVER_RAN, running_time=NOW - timedelta(seconds=600))
    assert backoff.after_failure(policy, told, healthy, NOW) == {"restarts": 1}
    short = replace(NEVER_RAN, running_time=NOW - timedelta(seconds=599))
    assert backoff.seconds_left(policy, backoff.after_failure(policy, told, short, NOW), NOW) == 160


def test_a_clock_that_was_set_back_prolongs_no_pause() -> None:
    told = {"restarts": 2, "nextAttemptTime": "2026-11-01T14:00:00Z"}
    assert backoff.seconds_left(Backoff(max_seconds=60), told, NOW) == 60


def test_a_job_that_fails_again_at_once_waits_and_says_until_when() -> None:
    world = World()
    begin(world, nodes=1)
    run(world)
    fail(world, "job-node-0-a0")
    assert "job-node-0-a1" in names(world), "the first restart waits for nothing"
    assert status(world)["backoff"] == {"restarts": 1}
    run(world)
    fail(world, "job-node-0-a1")
    assert "job-node-0-a2" not in names(world)
    until = status(world)["backoff"]["nextAttemptTime"]
    assert f"restart 2 in a row: the next attempt begins at {until}" in condition(world, "Ready")["message"]
    # The operator's restart does not end the pause, nor begin it anew.
    world.restart()
    world.settle()
    failed = world.clock.seconds
    while "job-node-0-a2" not in names(world):
        to_next_due(world)
        assert world.clock.seconds <= failed + 10
    assert world.clock.seconds >= failed + 7
    assert status(world)["backoff"] == {"restarts": 2}
    run(world)
    world.clock.seconds += 600
    fail(world, "job-node-0-a2")
    assert "job-node-0-a3" in names(world)
    assert status(world)["backoff"] == {"restarts": 1}
    run(world)
    world.end_pod(world.server.objects["pods", "job-node-0-a3"], 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    assert "backoff" not in status(world)
