"""spec.network and scheduling.topologySpread in the pods: a port of the job's own, RDMA, NCCL's and gloo's settings."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slipway.api.training.network import Network
from slipway.queueing.topology import Spread
from slipway.trainingjob.network import master_port
from slipway.trainingjob.queueing.claim import demand_of
from tests.unit.trainingjob.pods.pod_security import violations
from tests.unit.trainingjob.rendered import container_of, env_of, job_of, pod_of

HOST = {"hostNetwork": True}


def test_without_it_the_pod_is_as_before() -> None:
    spec = pod_of(job_of())["spec"]
    assert not {"hostNetwork", "dnsPolicy", "topologySpreadConstraints"} & set(spec)
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not [name for name in env_of(job_of()) if name.startswith(("NCCL_", "GLOO_"))]


def test_host_network_keeps_the_clusters_names_and_asks_the_scheduler_for_the_port() -> None:
    job = job_of(numNodes=2, network=HOST)
    spec = pod_of(job)["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    (port,) = container_of(job)["ports"]
    env = env_of(job, 1)
    assert env["MASTER_PORT"] == env["PET_MASTER_PORT"] == str(port["containerPort"])
    assert 20000 <= port["containerPort"] < 30000


def test_an_agents_port_is_the_scheduler_s_affair_too() -> None:
    job = job_of(numNodes=2, launcher="mpirun", mpi={"implementation": "OpenMPI"}, network=HOST)
    ports = {port["name"]: port["containerPort"] for port in container_of(job)["ports"]}
    assert ports["agent"] == ports["master"] + 1 == int(env_of(job)["SLIPWAY_GANG_PORT"])


@given(st.uuids(), st.uuids())
def test_two_jobs_can_share_a_node_but_for_one_in_five_thousand(one: object, other: object) -> None:
    """A fixed port would let no two (mpi-operator#593); a job keeps its own for life."""
    host = Network(host_network=True)
    ports = [master_port(29500, host, str(uid)) for uid in (one, other)]
    assert all(20000 <= port < 30000 and port % 2 == 0 for port in ports)
    assert ports[0] == master_port(29500, host, str(one))


def test_ports_are_spread_over_all_there_are() -> None:
    ports = [master_port(29500, Network(host_network=True), f"uid-{n}") for n in range(1000)]
    assert len(set(ports)) > 850, "1000 of 5000 by chance: 906 different ones on average"


def test_a_port_that_the_user_chose_stays() -> None:
    job = job_of(numNodes=2, network=HOST, torch={"masterPort": 31000})
    assert job.master_port == 31000


def test_its_pods_are_counted_one_to_a_node() -> None:
    assert demand_of(job_of(network=HOST).spec).apart
    assert not demand_of(job_of().spec).apart


def test_rdma_may_lock_memory_and_nothing_else() -> None:
    security = container_of(job_of(network={"rdma": True}))["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
    }
    assert violations(pod_of(job_of(network={"rdma": True}))) != [], "a restricted namespace would refuse it"


def test_the_libraries_are_told_and_the_user_has_the_last_word() -> None:
    network = {"socketInterface": "=eth0", "infinibandDevices": "mlx5_0:1,mlx5_1:1", "ncclDebug": "INFO"}
    env = env_of(job_of(network=network, trainer={"env": [{"name": "NCCL_DEBUG", "value": "WARN"}]}))
    assert env["NCCL_SOCKET_IFNAME"] == "=eth0"
    assert env["GLOO_SOCKET_IFNAME"] == "eth0"
    assert env["NCCL_IB_HCA"] == "mlx5_0:1,mlx5_1:1"
    assert env["NCCL_DEBUG"] == "WARN"
    excluded = env_of(job_of(network={"socketInterface": "^lo,docker"}))
    assert excluded["NCCL_SOCKET_IFNAME"] == "^lo,docker"
    assert "GLOO_SOCKET_IFNAME" not in excluded


@pytest.mark.parametrize("wrong", ["", "eth0 eth1", "$(reboot)", "a,,b"])
def test_an_interface_is_a_name_or_a_list_of_names(wrong: str) -> None:
    with pytest.raises(ValidationError):
        job_of(network={"socketInterface": wrong})


def test_topology_spread_counts_this_attempts_pods() -> None:
    spread = {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    job = dataclasses.replace(job_of(scheduling={"topologySpread": [spread]}), uid="abc")
    (found,) = pod_of(job, attempt=3)["spec"]["topologySpreadConstraints"]
    labels = pod_of(job, attempt=3)["metadata"]["labels"]
    assert found.pop("labelSelector")["matchLabels"].items() <= labels.items()
    assert found == spread | {"nodeTaintsPolicy": "Honor"}


def test_only_a_spread_that_the_scheduler_holds_to_makes_the_gang_wait() -> None:
    hard = {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    soft = {"topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}
    demand = demand_of(job_of(scheduling={"topologySpread": [hard, soft]}).spec)
    assert demand.spreads == (Spread("zone", 2),)
