"""Every launcher and strategy: real pods, a killed worker, and the same accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.base import Cluster
from tests.cluster.images import horovod
from tests.e2e.conftest import Job, Namespace
from tests.e2e.training.jobs import long_job, metrics, percent
from tests.e2e.training.power import kill_container

pytestmark = pytest.mark.slow
KINDS: dict[str, Job] = {
    "plain": {"launcher": "plain", "numNodes": 1},
    "two-processes": {"numNodes": 1, "numProcPerNode": 2},
    "fsdp2": {"strategy": {"name": "FSDP2"}},
    "zero1": {"launcher": "deepspeed", "strategy": {"name": "ZeRO1"}},
    "zero2": {"launcher": "deepspeed", "strategy": {"name": "ZeRO2"}},
    "zero3": {"launcher": "deepspeed", "strategy": {"name": "ZeRO3"}},
    "zero3-offload": {"launcher": "deepspeed", "strategy": {"name": "ZeRO3Offload"}},
}
# These need the image with Horovod and Open MPI.
HOROVOD: dict[str, Job] = {
    "horovod": {"launcher": "horovodrun"},
    "horovod-two-processes": {"launcher": "horovodrun", "numProcPerNode": 2},
    "mpi": {"launcher": "mpirun"},
    "mpi-two-processes": {"launcher": "mpirun", "numProcPerNode": 2},
}


@pytest.fixture(scope="module")
def horovod_image(cluster: Cluster, images: dict[str, str]) -> str:
    return horovod.build_and_load(cluster, images["trainer"])


@pytest.mark.parametrize("name", KINDS)
def test_it_survives_a_killed_worker_and_learns_as_much(
    namespace: Namespace, cluster: Cluster, example: Callable[[str], Job], name: str
) -> None:
    survives_and_learns(namespace, cluster, long_job(example, name, **KINDS[name]))


@pytest.mark.parametrize("name", HOROVOD)
def test_horovod_and_mpi_survive_a_killed_worker_and_learn_as_much(
    namespace: Namespace, cluster: Cluster, horovod_image: str, example: Callable[[str], Job], name: str
) -> None:
    job = long_job(example, name, **HOROVOD[name])
    job["spec"]["trainer"] = {**job["spec"].get("trainer", {}), "image": horovod_image}
    survives_and_learns(namespace, cluster, job)


def survives_and_learns(namespace: Namespace, cluster: Cluster, document: Job) -> None:
    """A container of the last node is killed in the middle: one restart, from a checkpoint, and the usual accuracy."""
    name = document["metadata"]["name"]
    namespace.apply(document)
    namespace.until("trainingjob", name, lambda j: 3 <= percent(j) < 80, "under way")
    kill_container(cluster, max(namespace.pods(name), key=_name))
    job = namespace.until_condition("trainingjob", name, "Succeeded", 600)
    assert job["status"]["restartCount"] == 1
    failure = job["status"]["lastFailure"]
    assert failure.get("signal") == "SIGKILL", failure
    assert "resumed from step" in namespace.kubectl("logs", f"{name}-node-0-a1")
    assert metrics(job)["accuracy"] >= 0.97


def test_elastic_shrinks_when_a_node_goes_and_grows_back(
    namespace: Namespace, cluster: Cluster, example: Callable[[str], Job]
) -> None:
    elastic = {"elasticPolicy": {"minNodes": 1, "maxNodes": 2}}
    # What one node does while the other comes back must not be all.
    namespace.apply(long_job(example, "elastic", 60, **elastic))
    namespace.until("trainingjob", "elastic", lambda j: 3 <= percent(j) < 60, "under way")
    kill_container(cluster, max(namespace.pods("elastic"), key=_name))
    namespace.until("trainingjob", "elastic", lambda _: len(_running(namespace)) == 2, "grown back", 180)
    job = namespace.until_condition("trainingjob", "elastic", "Succeeded", 600)
    assert metrics(job)["accuracy"] >= 0.97
    first = next(pod for pod in namespace.pods("elastic") if _name(pod).startswith("elastic-node-0-"))
    assert _name(first) == "elastic-node-0-a0", "the node that stayed was not restarted"


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _running(namespace: Namespace) -> list[str]:
    pods = namespace.pods("elastic")
    return [_name(pod) for pod in pods if pod["status"].get("phase") == "Running"]
