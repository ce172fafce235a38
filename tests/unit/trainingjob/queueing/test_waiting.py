"""Gangs without a place: the deadline counts while they wait, and pods that find no node give back what they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.gang.state import Hold
from slipway.runtime.client.resource import PODS
from slipway.trainingjob.job import Cluster
from tests.unit.trainingjob.sim_world import KEY, World
from tests.unit.trainingjob.steps import begin, condition, free_killed, names, run, status, to_next_change, to_next_due

HOLD = Hold(1, 1, "room for 0 of 2 pods")
NEVER = Hold(1, 1, "exceeded quota: q, requested: pods=2, used: pods=0, limited: pods=1", short=True, never=True)


def see(world: World, hold: Hold | None) -> None:
    world.process.jobs.view = lambda job: Cluster(hold, lets_in=True)


def unschedulable(world: World, name: str) -> None:
    pod = dict(world.server.get(PODS, name))
    words = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pod["status"] = {"phase": "Pending", "conditions": [words]}
    world.server.store(PODS, pod)


def test_the_startup_deadline_counts_while_a_job_is_queued(world: World) -> None:
    see(world, HOLD)
    begin(world, runPolicy={"startupDeadlineSeconds": 100})
    assert status(world)["queuedTime"]
    for _ in range(4):
        if "completionTime" not in status(world):
            to_next_due(world)
    assert condition(world, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert "room for 0 of 2 pods" in condition(world, "Failed")["message"]
    assert world.clock.seconds == pytest.approx(100, abs=1)


def test_what_was_waited_for_room_is_gone_from_the_time_to_start(world: World) -> None:
    see(world, HOLD)
    begin(world, runPolicy={"startupDeadlineSeconds": 100})
    world.clock.seconds = 70
    see(world, None)
    world.restart()
    see(world, None)
    world.settle()
    assert len(names(world)) == 2
    to_next_change(world)
    assert condition(world, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert world.clock.seconds == pytest.approx(100, abs=1)


def test_time_spent_suspended_in_the_line_is_not_counted(world: World) -> None:
    see(world, HOLD)
    begin(world, runPolicy={"startupDeadlineSeconds": 100})
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    assert "queuedTime" not in status(world)
    assert "queue" not in status(world)
    world.clock.seconds = 500
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert "completionTime" not in status(world)


def test_a_quota_that_can_never_be_enough_is_said_at_once(world: World) -> None:
    see(world, NEVER)
    begin(world)
    assert condition(world, "Created")["reason"] == "CreateRefused"
    assert condition(world, "Ready")["message"] == NEVER.missing
    writes = world.process.kube.writes
    to_next_due(world)
    assert world.process.kube.writes == writes, "told once"
    see(world, HOLD)
    to_next_due(world)
    assert condition(world, "Ready")["reason"] == "Queued"
    assert status(world)["queuedTime"] == "2026-11-01T12:00:00Z"


def test_a_quota_that_is_short_is_told_with_its_figures(world: World) -> None:
    see(world, replace(NEVER, never=False))
    begin(world)
    assert condition(world, "Ready")["reason"] == "Queued"
    assert NEVER.missing in condition(world, "Ready")["message"]


def test_pods_that_find_no_node_are_taken_back_and_nothing_is_counted(world: World) -> None:
    see(world, None)
    begin(world)
    world.start_pod(world.server.get(PODS, "job-node-0-a0"), "node-a")
    unschedulable(world, "job-node-1-a0")
    world.settle()
    assert condition(world, "Running")["reason"] == "Unschedulable"
    while world.clock.seconds < 900:
        to_next_due(world)
    free_killed(world)
    assert names(world) == []
    assert "not all pods had a node after 900 s" in condition(world, "Ready")["message"]
    assert status(world).get("restartCount", 0) == 0
    to_next_due(world)
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]
    run(world)
    assert condition(world, "Running")["status"] == "True"
    assert "backoff" not in status(world)


@pytest.mark.parametrize("spec", [{"scheduling": {"gang": "None"}}, {"pod": {"schedulerName": "yunikorn"}}])
def test_pods_that_wait_for_somebody_elses_scheduler_are_left_there(world: World, spec: dict[str, Any]) -> None:
    see(world, None)
    world.create_job({"numNodes": 2, "trainer": {"command": ["train"]}, "failurePolicy": {}, **spec})
    world.settle()
    for name in names(world):
        unschedulable(world, name)
    world.clock.seconds = 5000
    world.restart()
    see(world, None)
    world.settle()
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]


def test_a_gang_that_gives_way_gets_its_grace_period_and_nothing_is_counted(world: World) -> None:
    see(world, None)
    begin(world)
    run(world)
    world.clock.seconds += 40
    world.process.jobs.view = lambda job: Cluster(HOLD, lets_in=True, gives_way="n/urgent")
    world.process.queue.mark(KEY)
    world.settle()
    assert condition(world, "Running")["reason"] == "Preempted"
    assert "n/urgent of higher priority" in condition(world, "Ready")["message"]
    assert all(pod["metadata"]["deletionGracePeriodSeconds"] == 30 for pod in world.pods)
    for pod in world.pods:
        world.end_pod(pod, 143)
    world.clock.seconds += 5
    world.settle()
    free_killed(world)
    assert condition(world, "Ready")["reason"] == "Queued"
    counts = {status(world).get(field, 0) for field in ("restartCount", "restartCountTowardsMax", "disruptionCount")}
    assert counts == {0}
    assert status(world)["activeSeconds"] == 40
    see(world, None)
    to_next_due(world)
    assert names(world)[-2:] == ["job-node-0-a1", "job-node-1-a1"]
    assert "lastFailure" not in status(world)
