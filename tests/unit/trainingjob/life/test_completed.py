"""Finished work is not done again when a finished pod is removed: by PodGC, a drain, a node that is scaled away."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from slipway.reconcile import execute
from slipway.runtime.client.resource import PODS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status

ARTIFACT = {"uri": "pvc://models/digits", "digest": f"sha256:{'a' * 64}"}


def succeed(world: World, index: int, attempt: int = 0, words: dict[str, Any] | None = None) -> str:
    """Its pod ends well; nobody has looked yet."""
    name = f"job-node-{index}-a{attempt}"
    world.end_pod(world.server.get(PODS, name), 0)
    pod = copy.deepcopy(world.server.get(PODS, name))
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json.dumps(words) if words else ""
    world.server.store(PODS, pod)
    return name


def check_done(world: World, made: int) -> None:
    """The job has succeeded, and no pod was made beyond the first ones."""
    assert condition(world, "Succeeded")["status"] == "True"
    assert status(world).get("restartCount", 0) == 0
    assert len([pod for pod in world.server.born if pod["metadata"]["name"].startswith("job-node-")]) == made
    assert "completed" not in status(world)
    assert status(world)["replicaStatuses"]["succeeded"] == made


@pytest.mark.parametrize("looked", [True, False], ids=["seen before", "seen with its removal"])
@pytest.mark.parametrize("how", ["collected", "drained", "its node is scaled away"])
def test_a_finished_pod_that_is_removed_has_finished(world: World, looked: bool, how: str) -> None:
    begin(world, nodes=3)
    run(world)
    name = succeed(world, 0, words={"artifact": ARTIFACT})
    if looked:
        world.settle()
    if how == "drained":
        pod = copy.deepcopy(world.server.get(PODS, name))
        pod["metadata"] |= {"deletionTimestamp": "2026-11-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
        world.server.store(PODS, pod)
        world.settle()
    if how == "its node is scaled away":
        pod = copy.deepcopy(world.server.get(PODS, name))
        said = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
        pod["status"]["conditions"].append(said)
        world.server.store(PODS, pod)
    world.server.remove(PODS, name)
    world.settle()
    assert status(world)["completed"]["indexes"] == "0"
    assert status(world)["replicaStatuses"]["succeeded"] == 1
    for index in (1, 2):
        succeed(world, index)
        world.settle()
    check_done(world, made=3)
    assert status(world)["artifact"].items() >= ARTIFACT.items()


def test_what_the_status_knows_survives_the_operator(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "SOFT_SECONDS", 0)  # as some seconds later
    begin(world, nodes=3)
    run(world)
    ended = [succeed(world, index, words={"artifact": ARTIFACT} if index == 0 else None) for index in (0, 1)]
    world.settle()
    for name in ended:
        world.server.remove(PODS, name)
    world.restart()
    world.settle()
    assert status(world)["completed"]["indexes"] == "0-1"
    succeed(world, 2)
    world.server.remove(PODS, "job-node-2-a0")
    world.settle()
    check_done(world, made=3)
    assert status(world)["artifact"].items() >= ARTIFACT.items()


def test_all_pods_finished_and_removed_at_once(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    for index in range(3):
        name = succeed(world, index)
        world.server.remove(PODS, name)
    world.settle()
    check_done(world, made=3)


def test_a_pod_that_is_about_to_go_is_written_down_at_once(world: World) -> None:
    """What may wait some seconds to share a write must not be lost with the process that waits."""
    begin(world, nodes=3)
    run(world)
    name = succeed(world, 1)
    pod = copy.deepcopy(world.server.get(PODS, name))
    pod["metadata"] |= {"deletionTimestamp": "2026-11-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
    world.server.store(PODS, pod)
    world.settle()
    assert status(world)["completed"]["indexes"] == "1"


def test_the_next_attempt_begins_with_nothing_done(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    world.server.remove(PODS, succeed(world, 0))
    world.settle()
    fail(world, "job-node-1-a0")
    free_killed(world)
    assert "completed" not in status(world)
    assert {"job-node-0-a1", "job-node-1-a1", "job-node-2-a1"} <= {*names(world)}


def test_a_suspended_job_begins_with_nothing_done(world: World) -> None:
    begin(world, nodes=2)
    run(world)
    world.server.remove(PODS, succeed(world, 0))
    world.settle()
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    assert "completed" not in status(world)


def test_a_pod_removed_while_it_ran_has_not_finished(world: World) -> None:
    begin(world, nodes=2)
    run(world)
    world.server.remove(PODS, succeed(world, 0))
    world.settle()
    world.server.remove(PODS, "job-node-1-a0")
    world.settle()
    assert (status(world)["restartCount"], status(world)["disruptionCount"]) == (1, 1)


def test_a_node_of_an_elastic_job_that_has_finished_is_not_replaced(world: World) -> None:
    spec = {"numNodes": 3, "elasticPolicy": {"minNodes": 1, "maxNodes": 4}, "trainer": {"command": ["train"]}}
    world.create_job(spec)
    world.settle()
    run(world)
    for index in (2, 1, 0):
        world.server.remove(PODS, succeed(world, index))
        world.settle()
    check_done(world, made=3)
