"""What stands in the way of a job, and for how long: quotas, strangers, deadlines, images."""

from __future__ import annotations

import pytest

from slipway.runtime import conditions
from slipway.runtime.client.errors import Invalid
from slipway.runtime.client.resource import CONFIGMAPS, PODS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import (
    begin,
    condition,
    fail,
    free_killed,
    names,
    run,
    status,
    to_next_change,
    to_next_due,
)


def test_a_strangers_object_is_not_overwritten_by_a_restart(world: World) -> None:
    begin(world)
    run(world)
    world.server.remove(CONFIGMAPS, "job-job")
    world.server.create(CONFIGMAPS, {"metadata": {"name": "job-job"}, "data": {"theirs": "1"}})
    fail(world, "job-node-0-a0")
    free_killed(world)
    assert world.server.get(CONFIGMAPS, "job-job")["data"] == {"theirs": "1"}
    assert condition(world, "Ready")["reason"] == "NameConflict"
    world.server.remove(CONFIGMAPS, "job-job")
    to_next_due(world)
    assert "job-node-0-a1" in names(world)
    assert condition(world, "Created")["status"] == "True"


def test_a_refusal_meets_the_startup_deadline(world: World) -> None:
    world.server.pod_quota = 1
    begin(world, runPolicy={"startupDeadlineSeconds": 60})
    assert condition(world, "Ready")["reason"] == "CreateRefused"
    assert "exceeded quota" in condition(world, "Ready")["message"]
    for _ in range(20):
        if conditions.is_true(status(world)["conditions"], "Failed"):
            break
        to_next_due(world)
    assert condition(world, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert "exceeded quota" in condition(world, "Failed")["message"]
    assert 60 <= round(world.clock.seconds, 3) <= 61.1
    assert not world.alive()


def test_what_the_server_calls_invalid_waits_for_an_edit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object) -> None:
        raise Invalid(422, "Invalid", "spec.containers[0].image: Invalid value")

    monkeypatch.setattr(world.process.kube, "create", refuse)
    begin(world)
    assert condition(world, "Stalled")["reason"] == "InvalidSpec"
    assert "Invalid value" in condition(world, "Stalled")["message"]
    assert condition(world, "Ready")["status"] == "False"
    assert world.process.queue.next_due() is None, "the same words would be refused again"


def test_pods_that_started_in_time_while_the_operator_was_away_meet_the_deadline(world: World) -> None:
    begin(world, runPolicy={"startupDeadlineSeconds": 60})
    for pod in world.pods:
        world.start_pod(pod, "node-a")
    world.clock.seconds = 1000
    world.restart()
    world.settle()
    assert condition(world, "Running")["status"] == "True"


def test_a_quota_is_not_asked_for_every_pod_of_a_large_gang(world: World) -> None:
    world.server.pod_quota = 0
    begin(world, nodes=500)
    assert world.process.kube.writes <= 2 + 8 + 1


def test_running_time_only_counts_towards_the_deadline(world: World) -> None:
    begin(world, runPolicy={"activeDeadlineSeconds": 100})
    world.clock.seconds += 1000
    run(world)
    world.clock.seconds += 57
    fail(world, "job-node-0-a0")
    world.clock.seconds += 500
    free_killed(world)
    run(world)
    started = world.clock.seconds
    to_next_change(world)
    assert condition(world, "Failed")["reason"] == "DeadlineExceeded"
    assert world.clock.seconds - started == pytest.approx(40, abs=1)


def test_ttl_counts_from_every_end_and_survives_a_restart(world: World) -> None:
    begin(world, runPolicy={"ttlSecondsAfterFinished": 50}, failurePolicy={"maxRestarts": 0})
    fail(world, "job-node-0-a0")
    world.clock.seconds += 30
    world.restart()
    world.settle()
    assert world.job is not None
    to_next_due(world)
    assert world.job is None
    assert world.clock.seconds == pytest.approx(53, abs=1)


def _pull_error(world: World, name: str, reason: str, message: str) -> None:
    pod = dict(world.server.get(PODS, name))
    waiting = {"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [waiting]}
    world.server.store(PODS, pod)
    world.settle()


def test_a_kubelet_that_alternates_between_error_and_back_off_costs_one_write(world: World) -> None:
    begin(world)
    _pull_error(world, "job-node-0-a0", "ErrImagePull", "manifest unknown")
    writes = world.process.kube.writes
    for _ in range(5):
        _pull_error(world, "job-node-0-a0", "ImagePullBackOff", "Back-off pulling image")
        _pull_error(world, "job-node-0-a0", "ErrImagePull", "manifest unknown")
    assert world.process.kube.writes == writes
    assert condition(world, "Ready")["reason"] == "ImagePullError"
    assert "manifest unknown" in condition(world, "Ready")["message"]
    assert [reason for _, reason in world.notices] == ["ImagePullError"]
