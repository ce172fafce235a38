"""Lives of jobs that users of other controllers have reported in public, each tried here; named by its issue there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.runtime.client.errors import Forbidden
from slipway.runtime.client.resource import CONFIGMAPS, PODS
from slipway.trainingjob import pod_groups
from tests.unit.trainingjob.sim_world import World
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

AT_ONCE = {"backoff": {"seconds": 0}}
VOLCANO = {"numNodes": 2, "trainer": {"command": ["train"]}, "scheduling": {"gang": "Volcano"}}


def succeed(world: World, *skip: str) -> None:
    for name in names(world):
        if name not in skip:
            world.end_pod(world.server.get(PODS, name), 0)
    world.settle()


def lose(world: World, name: str) -> None:
    """Somebody deletes a pod, and it is gone."""
    world.server.delete(PODS, name)
    world.server.remove(PODS, name)
    world.settle()
    world.clock.seconds += 3
    world.settle()
    free_killed(world)


def suspend(world: World, wanted: bool = True) -> None:
    world.edit(("runPolicy", "suspend"), wanted)
    world.settle()
    free_killed(world)


@pytest.mark.parametrize("victim", ["job-node-0-a0", "job-node-2-a0"])
def test_jobset_574_and_kuberay_1489_a_pod_that_is_deleted_by_hand_restarts_all(world: World, victim: str) -> None:
    begin(world, nodes=3, failurePolicy=AT_ONCE)
    run(world)
    lose(world, victim)
    assert names(world) == [f"job-node-{index}-a1" for index in range(3)]
    run(world)
    assert condition(world, "Running")["status"] == "True"


def test_kuberay_3903_a_job_whose_first_node_goes_again_and_again_ends(world: World) -> None:
    begin(world, failurePolicy={**AT_ONCE, "maxDisruptions": 2})
    for attempt in range(3):
        run(world)
        lose(world, f"job-node-0-a{attempt}")
    assert condition(world, "Failed")["status"] == "True"
    assert [pod for pod in world.pods if not pod["metadata"].get("deletionTimestamp")] == []


def test_kuberay_4416_a_suspended_job_is_not_looked_at_again(world: World) -> None:
    begin(world)
    run(world)
    suspend(world)
    # What it was to be looked at for while it ran.
    while world.process.queue.next_due() is not None:
        to_next_due(world)
    written = len(world.server.status_history)
    world.clock.seconds += 3600
    world.relist()
    world.settle()
    assert len(world.server.status_history) == written


def test_kuberay_2154_a_first_node_that_goes_while_nobody_looks_is_missed(world: World) -> None:
    begin(world, failurePolicy=AT_ONCE)
    run(world)
    world.server.remove(PODS, "job-node-0-a0")
    world.restart()
    world.settle()
    world.clock.seconds += 3
    world.settle()
    assert status(world)["lastFailure"]["pod"] == "job-node-0-a0"
    assert status(world)["restartCount"] == 1


def test_kuberay_1480_mpi_operator_45_what_fails_for_good_fails_once(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    run(world)
    fail(world, "job-node-1-a0", 2)
    free_killed(world)
    world.clock.seconds += 3600
    world.restart()
    world.settle()
    assert condition(world, "Failed")["status"] == "True"
    assert status(world)["lastFailure"]["exitCode"] == 2
    assert all(name.endswith("-a0") for name in names(world))


def test_kuberay_4760_waiting_for_a_slow_start_uses_up_no_budget(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0, "maxDisruptions": 0})
    world.start_pod(world.server.get(PODS, "job-node-1-a0"), "node-a")
    world.settle()
    for _ in range(5):
        world.clock.seconds += 1200
        world.relist()
        world.settle()
    assert status(world).get("restartCount", 0) == 0
    run(world)
    assert condition(world, "Running")["status"] == "True"


def test_volcano_5385_a_node_that_is_replaced_alone_keeps_the_group(world: World) -> None:
    elastic = {"elasticPolicy": {"minNodes": 1, "maxNodes": 2}, "failurePolicy": AT_ONCE}
    world.create_job(copy.deepcopy({**VOLCANO, **elastic}))
    world.settle()
    run(world)
    before = world.server.all(pod_groups.VOLCANO_GROUPS)
    fail(world, "job-node-1-a0", 1)
    free_killed(world)
    for _ in range(5):
        if world.process.queue.next_due() is not None:
            to_next_due(world)
    assert "job-node-2-a0" in names(world)
    assert world.server.all(pod_groups.VOLCANO_GROUPS) == before


def test_volcano_2044_a_job_made_again_at_once_has_a_group(world: World) -> None:
    world.create_job(copy.deepcopy(VOLCANO))
    world.settle()
    replace_job(world)
    world.server.collect_garbage()
    free_killed(world)
    for _ in range(5):
        if world.process.queue.next_due() is not None:
            to_next_due(world)
    (group,) = world.server.all(pod_groups.VOLCANO_GROUPS)
    assert group["metadata"]["ownerReferences"][0]["uid"] == world.job["metadata"]["uid"]  # type: ignore[index]


def test_volcano_2160_pods_that_end_before_anybody_saw_them_run_succeed(world: World) -> None:
    begin(world, nodes=3)
    for name in names(world):
        world.start_pod(world.server.get(PODS, name), "node-a")
        world.end_pod(world.server.get(PODS, name), 0)
    world.restart()
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"


def test_volcano_3745_another_operator_tells_nothing_again(world: World) -> None:
    begin(world)
    lost = world.server.get(PODS, "job-node-1-a0")
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    lost["status"]["conditions"] = [told]
    world.server.store(PODS, lost)
    world.settle()
    run(world)
    before = list(world.notices)
    world.restart()
    world.settle()
    assert world.notices == before


def test_trainer_2351_a_job_whose_configmap_is_refused_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = world.process.kube.create

    async def refuse(resource: Any, obj: Any) -> Any:
        if resource is CONFIGMAPS:
            raise Forbidden(403, "Forbidden", "exceeded quota: q, requested: configmaps=1")
        return await whole(resource, obj)

    monkeypatch.setattr(world.process.kube, "create", refuse)
    begin(world)
    assert "requested: configmaps=1" in condition(world, "Ready")["message"]
    assert condition(world, "Created")["status"] == "False"
    assert names(world) == []


def test_trainer_3008_2158_and_2239_it_may_be_suspended_many_times_and_has_no_time_to_live_then(world: World) -> None:
    begin(world, runPolicy={"ttlSecondsAfterFinished": 10})
    for attempt in range(3):
        run(world)
        suspend(world)
        assert condition(world, "Suspended")["status"] == "True"
        world.clock.seconds += 3600
        world.relist()
        world.settle()
        assert world.job is not None
        suspend(world, False)
        assert names(world) == [f"job-node-{index}-a{attempt + 1}" for index in range(2)]
    run(world)
    assert status(world).get("restartCount", 0) == 0


def test_sdk_803_and_trainer_3666_a_resumed_job_runs(world: World) -> None:
    begin(world, runPolicy={"suspend": True})
    suspend(world, False)
    run(world)
    assert condition(world, "Running")["status"] == "True"
    assert condition(world, "Suspended")["status"] == "False"


def test_jobset_1294_and_134_a_node_selector_set_while_it_was_suspended_replaces_the_one_before(world: World) -> None:
    spec = {"numNodes": 2, "trainer": {"command": ["train"]}, "runPolicy": {}, "failurePolicy": {}}
    world.create_job({**spec, "pod": {"nodeSelector": {"flavor": "a", "zone": "1"}}})
    world.settle()
    run(world)
    suspend(world)
    world.edit(("pod", "nodeSelector"), {"flavor": "b"})
    suspend(world, False)
    assert {name[-2:] for name in names(world)} == {"a1"}
    assert all(pod["spec"]["nodeSelector"] == {"flavor": "b"} for pod in world.pods)


def test_kueue_1407_what_a_webhook_adds_to_the_pods_is_left_there(world: World) -> None:
    create = world.server.create

    def mutated(resource: Any, obj: Any) -> Any:
        obj = copy.deepcopy(dict(obj))
        if resource is PODS:
            obj["spec"] |= {"nodeSelector": {"flavor": "spot"}, "schedulingGates": [{"name": "x"}]}
            obj["metadata"]["labels"] |= {"kueue.x-k8s.io/managed": "true"}
        return create(resource, obj)

    world.server.create = mutated  # type: ignore[method-assign]
    begin(world)
    born = [pod["metadata"]["uid"] for pod in world.pods]
    run(world)
    for _ in range(3):
        world.relist()
        world.settle()
    assert [pod["metadata"]["uid"] for pod in world.pods] == born
    assert condition(world, "Running")["status"] == "True"


def test_trainer_1546_and_mpi_operator_127_workers_end_when_the_first_node_has_succeeded(world: World) -> None:
    spec = {"numNodes": 3, "trainer": {"command": ["train"]}, "successPolicy": "Rank0", "runPolicy": {}}
    world.create_job({**spec, "failurePolicy": {}})
    world.settle()
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-0-a0"), 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    going = [pod["metadata"]["name"] for pod in world.pods if pod["metadata"].get("deletionTimestamp")]
    assert going == ["job-node-1-a0", "job-node-2-a0"]


def test_trainer_1504_a_job_is_not_over_while_its_first_node_runs(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    succeed(world, "job-node-0-a0")
    world.clock.seconds += 3600
    world.relist()
    world.settle()
    assert condition(world, "Running")["status"] == "True"
    succeed(world)
    assert condition(world, "Succeeded")["status"] == "True"


def test_volcano_4814_an_eviction_restarts_all_and_is_no_failure_of_the_program(world: World) -> None:
    begin(world, nodes=3, failurePolicy={**AT_ONCE, "maxRestarts": 0})
    run(world)
    pod = world.server.get(PODS, "job-node-1-a0")
    said = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    pod["status"]["conditions"] = [*pod["status"].get("conditions", []), said]
    world.server.store(PODS, pod)
    lose(world, "job-node-1-a0")
    assert names(world) == [f"job-node-{index}-a1" for index in range(3)]
    assert status(world)["restartCountTowardsMax"] == 0
