"""What users of other job controllers have reported in public, each tried here; named by its issue there."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime.client.resource import PODS
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status, to_next_due

FAIL_JOB = {"rules": [{"action": "FailJob", "onExitCodes": {"values": [3]}}]}
AT_ONCE = {"backoff": {"seconds": 0}}


def plurals(world: World) -> set[str]:
    return {plural for plural, _ in world.server.objects} - {TRAINING_JOBS.plural}


def succeed(world: World) -> None:
    for name in names(world):
        world.end_pod(world.server.get(PODS, name), 0)
    world.settle()


def pass_by(world: World, looks: int = 5) -> None:
    for _ in range(looks):
        if world.process.queue.next_due() is not None:
            to_next_due(world)


def test_mpi_operator_687_what_is_edited_while_suspended_is_what_is_resumed(world: World) -> None:
    begin(world, runPolicy={"suspend": True})
    world.edit(("numNodes",), 3)
    world.edit(("trainer", "args"), ["--debug"])
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert len(names(world)) == 3
    assert all("--debug" in str(pod["spec"]) for pod in world.pods)


def test_mpi_operator_687_also_when_it_was_running_before(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    free_killed(world)
    world.edit(("trainer", "args"), ["--debug"])
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]
    assert all("--debug" in str(pod["spec"]) for pod in world.pods)


def test_jobset_535_a_job_that_starts_suspended_has_nothing_made(world: World) -> None:
    begin(world, runPolicy={"suspend": True})
    pass_by(world)
    assert plurals(world) == set()


def test_mpi_operator_647_what_is_left_of_a_job_that_failed_by_an_eviction_is_ended(world: World) -> None:
    begin(world, nodes=3, failurePolicy={"maxDisruptions": 0})
    run(world)
    world.server.delete(PODS, "job-node-1-a0")
    world.settle()
    world.clock.seconds += 3
    world.settle()
    assert condition(world, "Failed")["status"] == "True"
    assert all(pod["metadata"].get("deletionTimestamp") for pod in world.pods)


@pytest.mark.parametrize("code", [0, 3])
def test_mpi_operator_86_a_job_that_has_ended_never_begins_again(world: World, code: int) -> None:
    begin(world, failurePolicy=FAIL_JOB)
    run(world)
    succeed(world) if not code else fail(world, "job-node-0-a0", code)
    before = status(world)
    for name in names(world):
        world.server.remove(PODS, name)
    world.settle()
    world.clock.seconds += 3 * 3600
    world.restart()
    world.settle()
    pass_by(world)
    assert names(world) == []
    assert {k: v for k, v in status(world).items() if k != "replicaStatuses"} == {
        k: v for k, v in before.items() if k != "replicaStatuses"
    }


def test_trainer_2044_a_code_that_ends_the_job_leaves_it_failed_and_not_restarting(world: World) -> None:
    begin(world, failurePolicy={**FAIL_JOB, **AT_ONCE, "maxRestarts": 5})
    run(world)
    fail(world, "job-node-0-a0", 1)
    free_killed(world)
    run(world)
    fail(world, "job-node-0-a1", 3)
    assert condition(world, "Failed")["status"] == "True"
    told = {mark["type"]: mark["status"] for mark in status(world)["conditions"]}
    assert told.get("Restarting", "False") == "False"
    assert told["Running"] == "False"


def test_trainer_2045_signals_and_codes_above_128_use_up_the_same_budget(world: World) -> None:
    begin(world, failurePolicy={**AT_ONCE, "maxRestarts": 2})
    for attempt, code in enumerate((137, 143, 255)):
        run(world)
        fail(world, f"job-node-0-a{attempt}", code)
        free_killed(world)
    assert condition(world, "Failed")["status"] == "True"
    assert status(world)["restartCount"] == 2


def test_jobset_1186_time_in_suspension_is_no_active_time(world: World) -> None:
    begin(world, runPolicy={"activeDeadlineSeconds": 100})
    run(world)
    world.clock.seconds += 60
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    free_killed(world)
    world.clock.seconds += 10_000
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    run(world)
    world.clock.seconds += 30
    world.settle()
    assert condition(world, "Running")["status"] == "True"
    world.clock.seconds += 20
    pass_by(world)
    assert condition(world, "Failed")["reason"] == "DeadlineExceeded"


def test_jobset_1219_a_restart_is_a_condition_that_ends_when_the_pods_run(world: World) -> None:
    begin(world, failurePolicy=AT_ONCE)
    run(world)
    fail(world, "job-node-1-a0", 1)
    assert condition(world, "Restarting")["status"] == "True"
    free_killed(world)
    run(world)
    assert condition(world, "Restarting")["status"] == "False"


def test_kueue_1641_pods_that_kueue_took_are_made_again_as_another_group(world: World) -> None:
    spec: dict[str, Any] = {"numNodes": 2, "trainer": {"command": ["train"]}, "scheduling": {}}
    spec["scheduling"] = {"gang": "Kueue", "queue": "team"}
    world.create_job({**spec, "runPolicy": {}, "failurePolicy": {**AT_ONCE, "maxRestarts": 0}})
    world.settle()
    run(world)
    said = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted"}
    for name in names(world):
        pod = world.server.get(PODS, name)
        pod["status"]["conditions"].append(said)
        world.server.store(PODS, pod)
        world.server.delete(PODS, name)
    world.settle()
    world.clock.seconds += 3
    world.settle()
    free_killed(world)
    pass_by(world, 2)
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]
    groups = {pod["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"] for pod in world.pods}
    assert len(groups) == 1
    assert next(iter(groups)).endswith("-a1")
    assert status(world)["restartCountTowardsMax"] == 0


def test_trainer_2342_a_finished_job_goes_after_its_time_also_by_another_operator(world: World) -> None:
    begin(world, runPolicy={"ttlSecondsAfterFinished": 60, "cleanPodPolicy": "All"})
    run(world)
    succeed(world)
    world.restart()
    world.settle()
    world.clock.seconds += 59
    world.settle()
    assert world.job is not None
    world.clock.seconds += 2
    pass_by(world, 1)
    world.settle()
    assert world.job is None


def test_volcano_5805_a_gang_whose_last_pod_finds_no_node_any_more_says_which(world: World) -> None:
    begin(world)
    pods = world.pods
    world.start_pod(pods[0], "node-a")
    lost = world.server.get(PODS, "job-node-1-a0")
    message = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu"
    lost["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    ]
    world.server.store(PODS, lost)
    world.settle()
    assert condition(world, "Running")["reason"] == "Unschedulable"
    assert "job-node-1-a0" in condition(world, "Running")["message"]
    assert message in condition(world, "Running")["message"]
