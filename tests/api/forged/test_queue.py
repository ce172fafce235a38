"""Forged pods take no room from gangs that wait: neither those bound by hand nor those that say they belong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.forged.tenant import Tenant
from tests.api.stage import JOBS, NODES, PATIENCE, PODS, Object, Stage
from tests.api.watching import watch
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api
GPU = "nvidia.com/gpu"
ASKS = {"trainer": {"image": "x", "command": ["train"], "resourcesPerNode": {"limits": {GPU: 4}}}}


def asking(gpus: int, node: str = "") -> dict[str, object]:
    container = {"name": "c", "image": "x", "resources": {"limits": {GPU: str(gpus)}}}
    return {"containers": [container], **({"nodeName": node} if node else {})}


@pytest.fixture(autouse=True)
def _room(stage: Stage, victim: str) -> Iterator[None]:
    """Each test has all twelve GPUs."""
    yield
    for job in stage.plane.client.get(JOBS.format(victim))["items"]:
        stage.delete(JOBS.format(victim), job["metadata"]["name"])
    watch(
        stage.plane.client,
        PODS.format(victim),
        lambda pods: not any(map(_genuine, pods.values())),
        seconds=30 * PATIENCE,
    )


def _genuine(pod: Object) -> bool:
    return "finalizers" not in pod["metadata"]


@pytest.mark.parametrize("managed", [True, False], ids=["of ours, it says", "a stranger's"])
def test_a_pod_bound_by_its_own_creator_takes_no_room(
    stage: Stage, victim: str, stranger: Tenant, name: str, managed: bool
) -> None:
    """No scheduler has placed it and no kubelet has taken it in, which it would not: it asks for 10^6 GPUs."""
    stage.scripts["waits"] = lambda pod: Script(unschedulable="the kubelet of this node is busy")
    for node in NODES:
        body = asking(10**6, node)
        pod = stranger.pod(f"bound-{node}", {"slipway.dev/job-name": "waits"}, spec=body)
        if not managed:
            path = f"/api/v1/namespaces/{stranger.namespace}/pods/{pod['metadata']['name']}"
            stranger.client.patch(path, {"metadata": {"labels": {"slipway.dev/managed": None}}})
    stage.create(victim, name, numNodes=2, **ASKS)
    stage.until_pods(victim, name, lambda pods: len(pods) == 2)


def test_forged_members_are_promised_no_room(stage: Stage, victim: str, insider: Tenant, name: str) -> None:
    """Each pod of a gang that was let in has room kept for it: forged ones would keep it from everybody else."""
    stage.scripts[name] = lambda pod: Script(unschedulable="not yet")
    job = stage.create(victim, name, **ASKS)
    stage.until_pods(victim, name, lambda pods: len(pods) == 1)
    for index in range(1, 9):
        insider.forge(job, f"{name}-forged-{index}", index=index)
    stage.until_pods(victim, name, lambda pods: len(pods) == 9)
    other = f"{name}-other"
    stage.create(victim, other, numNodes=2, **ASKS)
    stage.until_pods(victim, other, lambda pods: len(pods) == 2)
