"""A job whose pods have a container more, which goes on: it ends, starts again and frees its nodes as without it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.runtime.client.resource import PODS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, condition, names, run, status

PROXY = {"name": "istio-proxy", "state": {"running": {}}}


def end_beside_proxy(world: World, name: str, code: int) -> None:
    """The trainer ends, the proxy does not."""
    world.end_pod(world.server.get(PODS, name), code)
    pod: dict[str, Any] = copy.deepcopy(world.server.get(PODS, name))
    pod["status"]["phase"] = "Running"
    pod["status"]["containerStatuses"].insert(0, PROXY)
    world.server.store(PODS, pod)
    world.settle()


@pytest.mark.parametrize("policy", ["Running", "None"])
def test_a_job_beside_proxies_succeeds_and_then_its_pods_are_ended(world: World, policy: str) -> None:
    begin(world, runPolicy={"cleanPodPolicy": policy})
    run(world)
    end_beside_proxy(world, "job-node-0-a0", 0)
    assert condition(world, "Running")["status"] == "True", "its peer is not there yet"
    end_beside_proxy(world, "job-node-1-a0", 0)
    assert condition(world, "Succeeded")["status"] == "True"
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in world.pods)
    world.clock.seconds += 11
    world.settle()
    assert all(pod["metadata"].get("deletionTimestamp") for pod in world.pods)
    assert status(world)["replicaStatuses"]["succeeded"] == 2
    world.kubelet_round()
    world.settle()
    assert not world.pods
    assert condition(world, "Succeeded")["status"] == "True"


def test_a_failure_beside_a_proxy_is_seen_at_once_and_the_gang_starts_again(world: World) -> None:
    begin(world)
    run(world)
    end_beside_proxy(world, "job-node-0-a0", 137)
    assert status(world)["restartCount"] == 1
    assert status(world)["lastFailure"]["container"] == "trainer"
    assert status(world)["lastFailure"]["exitCode"] == 137
    world.clock.seconds += 11
    world.settle()
    for pod in world.pods:
        if pod["metadata"].get("deletionTimestamp"):
            world.server.remove(PODS, pod["metadata"]["name"])
    world.settle()
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"], "nobody's GPUs are held for the logs' sake"
