"""A pod whose ownerReferences somebody took away is ended, and nothing starts beside it before."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.runtime.client.resource import PODS, Object
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status, to_next_due

STRANGER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "stranger", "controller": True}
CHANGES = [pytest.param([], id="taken away"), pytest.param([STRANGER], id="another owner")]


def disown(world: World, name: str, owners: list[Any], *, labels: bool = True) -> Object:
    pod = copy.deepcopy(world.server.get(PODS, name))
    pod["metadata"]["ownerReferences"] = owners
    if not labels:
        del pod["metadata"]["labels"]
    # What a watch with our selector tells of a pod without our labels.
    return world.server.store(PODS, pod, "MODIFIED" if labels else "DELETED")


def alive(world: World) -> set[str]:
    pods = [pod for pod in world.server.all(PODS) if pod["status"]["phase"] in {"Pending", "Running"}]
    return {pod["metadata"]["name"] for pod in pods}


def ends(world: World, name: str) -> None:
    """Its kubelet removes it."""
    assert world.server.get(PODS, name)["metadata"]["deletionTimestamp"], "nobody asked it to go"
    world.server.remove(PODS, name)
    free_killed(world)


@pytest.mark.parametrize("owners", CHANGES)
@pytest.mark.parametrize("restarted", [False, True])
def test_no_second_attempt_runs_beside_it(world: World, owners: list[Any], restarted: bool) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    run(world)
    disown(world, "job-node-0-a0", owners)
    world.settle()
    if restarted:
        world.restart()
        world.settle()
    assert not any(name.endswith("a1") for name in alive(world) if "job-node-0-a0" in alive(world))
    if "job-node-0-a0" in alive(world):
        ends(world, "job-node-0-a0")
    to_next_due(world)
    assert names(world)[-2:] == ["job-node-0-a1", "job-node-1-a1"]
    assert (status(world)["restartCount"], status(world)["disruptionCount"]) == (1, 1)
    assert "ownerReferences" in status(world)["lastFailure"]["message"]


@pytest.mark.parametrize(("owners", "restarted"), [([], False), ([], True), ([STRANGER], False)])
def test_one_that_is_on_its_way_out_is_still_waited_for(world: World, owners: list[Any], restarted: bool) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-1-a0")
    assert world.server.get(PODS, "job-node-0-a0")["metadata"]["deletionTimestamp"]
    disown(world, "job-node-0-a0", owners)
    if restarted:
        world.restart()
    world.settle()
    assert not any(name.endswith("a1") for name in alive(world))
    ends(world, "job-node-0-a0")
    assert {"job-node-0-a1", "job-node-1-a1"} <= alive(world)


def test_one_without_labels_and_owner_is_known_by_its_uid(world: World) -> None:
    begin(world)
    run(world)
    disown(world, "job-node-0-a0", [], labels=False)
    world.settle()
    to_next_due(world)
    assert not any(name.endswith("a1") for name in alive(world))
    assert "waiting for job-node-0-a0" in condition(world, "Ready")["message"]
    ends(world, "job-node-0-a0")
    to_next_due(world)
    assert status(world)["restartCount"] == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_an_operator_that_dies_before_it_asks_it_to_go_is_followed_by_one_that_does(
    world: World, write: int, before: bool
) -> None:
    """The next attempt was persisted and the old pod not asked to go yet: nobody remembered it, and both ran."""
    begin(world)
    run(world)
    disown(world, "job-node-0-a0", [])
    kube = world.process.kube
    kube.crash_at, kube.crash_first = kube.writes + write, before
    world.settle()
    world.settle()
    assert not any(name.endswith("a1") for name in alive(world)), "the old one lives"
    ends(world, "job-node-0-a0")
    to_next_due(world)
    assert {"job-node-0-a1", "job-node-1-a1"} <= alive(world)
    assert status(world)["restartCount"] == 1


@pytest.mark.parametrize("labels", [True, False])
def test_a_gang_whose_operator_was_away_meanwhile(world: World, labels: bool) -> None:
    """By its labels it is the job's; without those, and nobody's memory, it is a stranger's."""
    begin(world)
    run(world)
    disown(world, "job-node-0-a0", [], labels=labels)
    world.restart()
    world.settle()
    if not labels:
        assert status(world)["restartCount"] == 1
        return
    assert world.server.get(PODS, "job-node-0-a0")["metadata"]["deletionTimestamp"]
    assert not any(name.endswith("a1") for name in alive(world))
    ends(world, "job-node-0-a0")
    to_next_due(world)
    assert status(world)["restartCount"] == 1


def test_one_that_gets_its_owner_back_in_time_stays(world: World) -> None:
    begin(world)
    run(world)
    before = world.server.get(PODS, "job-node-0-a0")["metadata"]["ownerReferences"]
    disown(world, "job-node-0-a0", [])
    disown(world, "job-node-0-a0", before)
    world.settle()
    assert "restartCount" not in status(world)
    assert world.process.jobs._jobs.orphans._known == {}


def test_one_that_has_succeeded_has_succeeded(world: World) -> None:
    begin(world)
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-0-a0"), 0)
    disown(world, "job-node-0-a0", [])
    world.settle()
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"


def test_nothing_is_remembered_of_pods_that_are_gone(world: World) -> None:
    begin(world)
    run(world)
    disown(world, "job-node-0-a0", [])
    world.settle()
    ends(world, "job-node-0-a0")
    strays = world.process.jobs._jobs.orphans
    assert (strays._known, strays._of) == ({}, {})


def test_labels_alone_make_no_pod_the_job_s(world: World) -> None:
    """A pod of somebody else, labelled as one of an attempt to come."""
    begin(world)
    run(world)
    mine = world.server.get(PODS, "job-node-0-a0")["metadata"]["labels"]
    marks = mine | {"slipway.dev/attempt": "7"}
    world.server.create(
        PODS,
        {
            "metadata": {"name": "job-node-0-a7", "labels": marks},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 9},
        },
    )
    world.settle()
    assert "restartCount" not in status(world)
    assert "deletionTimestamp" not in world.server.get(PODS, "job-node-0-a7")["metadata"]
    world.server.delete(PODS, "job-node-0-a7")
    world.settle()
    assert "restartCount" not in status(world)
    assert not status(world).get("attempt")
