"""Pod settings of `spec.network`: the node's network with ports of the job's own, RDMA, the libraries' variables.

Called by pods.py. On the node's network a port is taken for everybody, so a fixed one would let no two jobs share a
node: the port follows from the job's UID, and the pod names it, so that the scheduler keeps equal ones apart.
"""

import hashlib
from typing import Any

from slipway.api.common.pod import Capability
from slipway.api.training.network import Network

# Kubernetes takes 30000 to 32767 for NodePorts, Linux everything from 32768 on for outgoing connections.
FIRST_PORT, PORTS = 20000, 10000
DEFAULT_PORT = 29500


def master_port(wanted: int, network: Network, uid: str) -> int:
    """Port on which node 0 listens; an even number where it is the job's own: its agents' is the next."""
    if not network.host_network or wanted != DEFAULT_PORT:
        return wanted
    digest = hashlib.sha256(uid.encode()).digest()
    return FIRST_PORT + 2 * (int.from_bytes(digest[:4], "big") % (PORTS // 2))


def pod_fields(network: Network) -> dict[str, Any]:
    """Pod spec fields. Without ClusterFirstWithHostNet the gang's names would be asked of the node's resolver."""
    return {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if network.host_network else {}


def capabilities(network: Network) -> tuple[Capability, ...]:
    """Capabilities of the container, beside those that pod.capabilities names."""
    return (Capability.IPC_LOCK,) if network.rdma else ()


def env(network: Network) -> dict[str, str]:
    """The libraries' variables."""
    interface = network.socket_interface
    # gloo takes one name as it is; NCCL's `=` and `^` mean nothing to it.
    name = interface.lstrip("=") if interface and not interface.startswith("^") else None
    found = {
        "NCCL_SOCKET_IFNAME": interface,
        "GLOO_SOCKET_IFNAME": name,
        "HOROVOD_GLOO_IFACE": name,
        "NCCL_IB_HCA": network.infiniband_devices,
        "NCCL_DEBUG": network.nccl_debug,
    }
    return {name: value for name, value in found.items() if value is not None}
