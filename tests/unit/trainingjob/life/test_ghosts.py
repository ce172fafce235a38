"""Pods that nothing will ever tell of again do not hold a job back."""

from __future__ import annotations

from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, names, replace_job, run, status, to_next_due


def test_a_ghost_on_a_lost_node_is_deleted_by_force_although_nothing_tells_of_it(world: World) -> None:
    """The echo of our own delete is no news, so only a deadline can wake the job."""
    begin(world)
    run(world, "node-a")
    world.lose_node("node-a")
    fail(world, "job-node-1-a0")
    for _ in range(4):
        if "job-node-0-a1" in names(world):
            break
        to_next_due(world)
    assert "job-node-0-a0" not in names(world)
    assert "job-node-0-a1" in names(world)
    assert world.clock.seconds <= 30 + 10 + 10 + 1


def test_ghosts_of_a_finished_job_are_deleted_by_force(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    run(world, "node-a")
    world.lose_node("node-a")
    fail(world, "job-node-1-a0")
    assert condition(world, "Failed")["reason"] == "MaxRestartsExceeded"
    assert status(world)["replicaStatuses"]["active"] == 0
    for _ in range(4):
        if not world.alive():
            break
        to_next_due(world)
    assert not world.alive()


def test_ghosts_of_a_predecessor_are_deleted_by_force(world: World) -> None:
    begin(world)
    run(world, "node-a")
    world.lose_node("node-a")
    replace_job(world)
    world.server.collect_garbage()
    world.settle()
    for _ in range(4):
        if len([p for p in world.pods if not p["metadata"].get("deletionTimestamp")]) == 2:
            break
        to_next_due(world)
    uid = world.job["metadata"]["uid"]  # type: ignore[index]
    assert {p["metadata"]["ownerReferences"][0]["uid"] for p in world.pods} == {uid}
