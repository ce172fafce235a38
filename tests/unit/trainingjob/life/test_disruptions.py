"""Drains, preemption, lost nodes: whatever comes in whatever order, no restart of the program's budget is spent."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.runtime.client.resource import PODS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status

DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
QUEUED = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted", "message": "room"}
NONE = {"maxRestarts": 0}


def say(world: World, name: str, *conditions: dict[str, Any]) -> None:
    pod = copy.deepcopy(world.server.get(PODS, name))
    pod["status"]["conditions"] = [*pod["status"]["conditions"], *conditions]
    world.server.store(PODS, pod)


def counts(world: World) -> tuple[int, int, int]:
    fields = ("restartCount", "restartCountTowardsMax", "disruptionCount")
    restarts, charged, disruptions = (status(world).get(field, 0) for field in fields)
    return restarts, charged, disruptions


@pytest.mark.parametrize("said", [[DRAINED], [QUEUED], []], ids=["drain", "Kueue", "drain before Kubernetes 1.26"])
def test_a_job_without_restarts_survives_what_evicts_its_pods(world: World, said: list[dict[str, Any]]) -> None:
    begin(world, failurePolicy=NONE)
    for attempt in range(12):
        run(world)
        victim = f"job-node-{attempt % 2}-a{attempt}"
        say(world, victim, *said)
        world.server.delete(PODS, victim)
        world.settle()
        free_killed(world)
    assert counts(world) == (12, 0, 12)
    assert names(world) == ["job-node-0-a12", "job-node-1-a12"]


def test_all_pods_evicted_at_once_are_one_disruption(world: World) -> None:
    begin(world, nodes=3, failurePolicy=NONE)
    run(world)
    for index in range(3):
        say(world, f"job-node-{index}-a0", QUEUED)
        world.server.delete(PODS, f"job-node-{index}-a0")
    world.settle()
    free_killed(world)
    assert counts(world) == (1, 0, 1)
    assert status(world)["lastFailure"].items() >= {"reason": "Preempted", "message": "room"}.items()


@pytest.mark.parametrize("code", [0, 143, 1, 137])
def test_however_an_evicted_program_ends_it_was_evicted(world: World, code: int) -> None:
    begin(world, failurePolicy=NONE)
    run(world)
    say(world, "job-node-1-a0", DRAINED)
    world.server.delete(PODS, "job-node-1-a0")
    pod = world.server.get(PODS, "job-node-1-a0")
    world.clock.seconds += 5
    world.end_pod(pod, code)
    say(world, "job-node-1-a0", DRAINED)
    if code:
        world.settle()
        assert counts(world) == (1, 0, 1)
    else:
        world.end_pod(world.server.get(PODS, "job-node-0-a0"), 0)
        world.settle()
        assert condition(world, "Succeeded")["status"] == "True"


@pytest.mark.parametrize("told", ["late", "with its removal"])
def test_a_rule_about_disruptions_is_asked_though_the_pod_is_gone(world: World, told: str) -> None:
    begin(world, failurePolicy={"rules": [{"action": "FailJob", "onPodConditions": ["DisruptionTarget"]}]})
    run(world)
    say(world, "job-node-1-a0", DRAINED)
    if told == "late":
        world.settle()
    world.server.delete(PODS, "job-node-1-a0", grace=0)
    world.settle()
    assert condition(world, "Failed")["reason"] == "FailureRule"


def test_a_program_that_failed_and_whose_pod_is_gone_has_failed(world: World) -> None:
    """A pod collector as quick as that must not make a crash a disruption."""
    begin(world, failurePolicy=NONE)
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), 3)
    world.server.remove(PODS, "job-node-1-a0")
    world.settle()
    world.clock.seconds += 5
    world.settle()
    assert condition(world, "Failed")["reason"] == "MaxRestartsExceeded"
    assert status(world)["lastFailure"]["exitCode"] == 3


@pytest.mark.parametrize("heard", ["silent node", "shut down", "collected"])
def test_a_disruption_that_is_heard_of_late_takes_the_failure_back(world: World, heard: str) -> None:
    """A spot node is gone in an instant: its peers die of it, and it is a minute until anybody says why."""
    begin(world, failurePolicy={"maxRestarts": 3, "nodeLostGraceSeconds": 60})
    run(world, "node-a")
    pod = copy.deepcopy(world.server.get(PODS, "job-node-1-a0"))
    pod["spec"]["nodeName"] = "spot"
    world.server.store(PODS, pod)
    fail(world, "job-node-0-a0")
    assert counts(world) == (1, 1, 0)
    world.clock.seconds += 30
    if heard == "silent node":
        world.lose_node("spot")
    else:
        pod = copy.deepcopy(world.server.get(PODS, "job-node-1-a0"))
        pod["status"]["phase"] = "Failed"
        if heard == "shut down":
            pod["status"] |= {"reason": "Terminated", "message": "imminent node shutdown"}
        else:
            said = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
            pod["status"]["conditions"] = [said | {"message": "PodGC: node no longer exists"}]
        world.server.store(PODS, pod)
    world.settle()
    assert counts(world) == (1, 0, 1)
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"
    assert "it came of pod job-node-1-a0 on node spot" in condition(world, "Restarting")["message"]
    written = len(world.server.status_history)
    world.relist()
    world.settle()
    assert len(world.server.status_history) == written


def test_what_nobody_has_disrupted_stays_counted(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    assert counts(world) == (1, 1, 0)


def test_disruptions_do_not_make_a_program_s_next_failure_wait_longer(world: World) -> None:
    begin(world)
    for attempt in range(6):
        run(world)
        world.server.delete(PODS, f"job-node-1-a{attempt}")
        world.settle()
        free_killed(world)
    run(world)
    fail(world, "job-node-0-a6")
    free_killed(world)
    assert names(world)[-1] == "job-node-1-a7", "the first restart after a failure comes at once"
