"""A job of the same name as one just deleted does not meet its predecessor's pods."""

from __future__ import annotations

from slipway.runtime.client.resource import CONFIGMAPS, PODS
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import KEY, NAME, World
from tests.unit.trainingjob.steps import (
    begin,
    condition,
    fail,
    free_killed,
    names,
    replace_job,
    run,
    status,
    to_next_due,
)


def test_a_successor_waits_for_pods_of_other_attempts_too(world: World) -> None:
    """No name collides, but both gangs would write to the same checkpoint."""
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    replace_job(world)
    world.server.collect_garbage()
    world.settle()
    assert {name[-2:] for name in names(world)} == {"a1"}
    assert "job-node" in condition(world, "Ready")["message"]
    assert status(world).get("restartCount", 0) == 0
    assert "lastFailure" not in status(world)
    free_killed(world)
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]


def test_a_successor_finds_its_predecessors_pods_after_a_restart_of_the_operator(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    spec = dict(world.job["spec"])  # type: ignore[index]
    world.server.delete(TRAINING_JOBS, NAME)
    world.create_job(spec)
    world.restart()
    world.settle()
    assert {name[-2:] for name in names(world) if name != "job-node-0-a0"} == {"a1"}
    assert condition(world, "Created")["status"] == "False"


def test_pods_that_were_orphaned_on_purpose_are_waited_for_and_not_deleted(world: World) -> None:
    begin(world)
    run(world)
    replace_job(world)
    for _ in range(3):
        world.clock.seconds += 1000
        world.process.queue.mark(KEY)
        world.settle()
    assert len(world.alive()) == 2
    assert not [pod for pod in world.pods if pod["metadata"].get("deletionTimestamp")]
    assert "deleted job of the same name" in condition(world, "Ready")["message"]


def test_no_part_of_a_gang_is_made_while_a_name_of_it_is_taken(world: World) -> None:
    """The old job has succeeded, and its pods are kept for their logs."""
    begin(world)
    run(world)
    for name in names(world):
        world.end_pod(world.server.get(PODS, name), 0)
    world.settle()
    replace_job(world)
    world.server.remove(PODS, "job-node-0-a0")
    world.settle()
    assert names(world) == ["job-node-1-a0"]
    assert "job-node-1-a0" in condition(world, "Ready")["message"]
    world.server.collect_garbage()
    world.settle()
    assert [pod["metadata"]["ownerReferences"][0]["uid"] for pod in world.pods] == [world.job["metadata"]["uid"]] * 2  # type: ignore[index]


def test_a_predecessors_config_map_is_waited_for_and_not_adopted(world: World) -> None:
    begin(world)
    old = world.job["metadata"]["uid"]  # type: ignore[index]
    replace_job(world)
    for name in names(world):
        world.server.delete(PODS, name)
    world.settle()
    assert "deleted job of the same name" in condition(world, "Ready")["message"]
    world.server.collect_garbage()
    to_next_due(world)
    assert world.server.get(CONFIGMAPS, "job-job")["metadata"]["ownerReferences"][0]["uid"] != old
    assert len(names(world)) == 2
