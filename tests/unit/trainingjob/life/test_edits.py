"""What a user changes in a running job: suspend and resume act, all else waits and is told once."""

from __future__ import annotations

import pytest

from slipway.runtime import conditions
from slipway.runtime.client.resource import CONFIGMAPS, PODS
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import KEY, NAME, World
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


def test_suspending_a_job_whose_pods_are_gone_costs_no_restart(world: World) -> None:
    begin(world)
    for name in names(world):
        world.server.delete(PODS, name)
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert status(world).get("restartCount", 0) == 0
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]


def test_suspend_and_resume_tell_one_event_each(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    free_killed(world)
    assert names(world) == []
    assert condition(world, "Suspended")["status"] == "True"
    assert {c["type"] for c in status(world)["conditions"]} == {"Created", "Ready", "Running", "Suspended"}
    world.edit(("numNodes",), 3)
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert len(names(world)) == 3
    assert condition(world, "Suspended")["status"] == "False"
    reasons = [reason for _, reason in world.notices]
    assert (reasons.count("Suspended"), reasons.count("Resumed")) == (1, 1)


def test_a_pod_is_asked_once_to_go_however_late_the_watch_tells(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("runPolicy", "suspend"), True)
    writes = world.process.kube.writes
    for _ in range(3):
        world.process.deliver(TRAINING_JOBS)
        world.process.queue.mark(KEY)
        while world.work():
            pass
    assert world.process.kube.writes - writes == 1 + 2, "the status, and each pod"


def test_time_spent_suspended_is_no_time_to_start(world: World) -> None:
    """The server refused the pods before the suspension: the start-up deadline counts from the next refusal."""
    world.server.pod_quota = 0
    begin(world, runPolicy={"startupDeadlineSeconds": 60})
    assert condition(world, "Created")["reason"] == "CreateRefused"
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    world.clock.seconds = 1000
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert conditions.get(status(world)["conditions"], "Failed") is None
    world.server.pod_quota = None
    to_next_due(world)
    assert len(names(world)) == 2


def test_what_was_made_of_an_older_spec_is_brought_up_to_date(world: World) -> None:
    """The ConfigMap was made, the pods were refused, the user suspended and edited: it must not train the old job."""
    world.server.pod_quota = 0
    begin(world)
    assert condition(world, "Created")["reason"] == "CreateRefused"
    for path, value in ((("runPolicy", "suspend"), True), (("numNodes",), 3), (("runPolicy", "suspend"), False)):
        world.edit(path, value)
        world.settle()
    world.server.pod_quota = None
    to_next_due(world)
    assert '"numNodes": 3' in world.server.get(CONFIGMAPS, "job-job")["data"]["job.json"]
    assert len(names(world)) == 3


@pytest.mark.parametrize("nodes", [1, 3])
def test_an_edit_of_the_node_count_loses_no_pod(world: World, nodes: int) -> None:
    begin(world)
    run(world)
    world.edit(("numNodes",), nodes)
    world.settle()
    assert condition(world, "Stalled")["reason"] == "SpecChanged"
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]
    for pod in world.pods:
        world.end_pod(pod, 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"


def test_a_changed_spec_is_told_once_and_taken_back(world: World) -> None:
    begin(world)
    world.edit(("numNodes",), 3)
    for _ in range(5):
        world.clock.seconds += 1
        world.process.queue.mark(next(iter([("team", NAME)])))  # type: ignore[arg-type]
        world.settle()
    writes = world.process.kube.writes
    run(world)
    assert condition(world, "Running")["status"] == "True", "the pods' life goes on"
    assert world.process.kube.writes == writes + 1
    assert [reason for _, reason in world.notices].count("SpecChanged") == 2
    world.edit(("numNodes",), 2)
    world.settle()
    assert conditions.get(status(world)["conditions"], "Stalled") is None
    assert condition(world, "Ready")["reason"] == "AllPodsRunning"


def test_deadlines_hold_for_a_changed_spec(world: World) -> None:
    """And the operator must not spin on a deadline that has passed."""
    begin(world, runPolicy={"activeDeadlineSeconds": 20})
    run(world)
    world.edit(("numNodes",), 3)
    world.settle()
    to_next_change(world)
    assert condition(world, "Failed")["reason"] == "DeadlineExceeded"
    assert 20 <= world.clock.seconds <= 21


def test_a_failure_under_a_changed_spec_ends_the_job(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("numNodes",), 3)
    fail(world, "job-node-0-a0")
    assert condition(world, "Failed")["reason"] == "SpecChanged"


def test_an_edit_between_two_attempts_waits_for_the_user(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    world.edit(("numNodes",), 3)
    free_killed(world)
    assert condition(world, "Stalled")["reason"] == "SpecChanged"
    assert not world.alive()
    world.edit(("numNodes",), 2)
    world.settle()
    assert len(world.alive()) == 2


def test_the_end_follows_the_generation_so_that_flux_sees_no_work_in_progress(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    fail(world, "job-node-0-a0")
    world.edit(("runPolicy", "activeDeadlineSeconds"), 5)
    world.settle()
    assert world.job is not None
    assert status(world)["observedGeneration"] == world.job["metadata"]["generation"] == 2
