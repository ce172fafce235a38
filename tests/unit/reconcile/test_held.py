"""Pods that somebody's finalizer keeps are not deleted over and over, and the job says who keeps them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import observe_pod
from slipway.runtime.client.resource import PODS
from slipway.runtime.client.transform import MAX_FINALIZERS, slim_pod
from tests.unit.reconcile.pods import deleted, pod, running
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, fail, names, run

NOW = datetime(2026, 11, 1, 13, 0, tzinfo=UTC)
FINALIZER = "storage.example.com/detach"


def held(name: str, grace: int) -> dict[str, Any]:
    body = deleted(pod(name, **running()), grace=grace)
    body["metadata"]["finalizers"] = [FINALIZER]
    return slim_pod(body)


def test_a_pod_that_a_finalizer_keeps_is_deleted_by_force_once_and_not_once_a_second() -> None:
    """256 pods were 256 requests a second for ever, none of which could change anything."""
    before = cleanup.clean([observe_pod(held(f"p{i}", 30), NOW) for i in range(3)], 10, NOW)
    assert [delete.force for delete in before.deletes] == [True] * 3
    after = cleanup.clean([observe_pod(held(f"p{i}", 0), NOW) for i in range(3)], 10, NOW)
    assert (after.deletes, after.wait) == ((), cleanup.HELD_LOOK_SECONDS)


def test_of_many_long_finalizers_the_cache_keeps_few() -> None:
    body = pod("p", **running())
    body["metadata"]["finalizers"] = [f"{'x' * 5000}/{i}" for i in range(1000)]
    thin = slim_pod(body)
    assert slim_pod(thin) == thin
    assert len(thin["metadata"]["finalizers"]) == MAX_FINALIZERS
    assert len(str(thin)) < 3000


def finalize(world: World, name: str) -> None:
    """As a kubelet leaves a pod that has a finalizer: asked for with no grace, and there all the same."""
    body: dict[str, Any] = copy.deepcopy(world.server.get(PODS, name))
    body["metadata"] |= {"finalizers": [FINALIZER], "deletionGracePeriodSeconds": 0}
    world.server.store(PODS, body)
    world.settle()


def test_a_restart_that_waits_for_a_finalizer_says_whose() -> None:
    world = World()
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    finalize(world, "job-node-1-a0")
    told = condition(world, "Ready")
    assert (told["status"], told["reason"]) == ("Unknown", "PodsPending")
    assert (
        f"job-node-1-a0 stays until its finalizers are taken away by whoever set them: {FINALIZER}" in told["message"]
    )
    world.server.remove(PODS, "job-node-1-a0")
    world.settle()
    assert "job-node-0-a1" in names(world)
    assert FINALIZER not in condition(world, "Ready")["message"]


def test_a_suspended_job_says_who_keeps_its_pods() -> None:
    world = World()
    begin(world)
    run(world)
    world.edit(("runPolicy", "suspend"), value=True)
    world.settle()
    finalize(world, "job-node-1-a0")
    assert FINALIZER in condition(world, "Suspended")["message"]
