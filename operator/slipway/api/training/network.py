"""Network between the pods of a gang: the node's own network, RDMA, and what NCCL and gloo are told of it."""

from typing import Annotated, Literal

from pydantic import Field

from slipway.api.common.base import Model

# A kernel's name for an interface, or a list of prefixes as NCCL takes it ("=eth0", "^lo,docker", "mlx5_0:1").
Devices = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[=^]?[A-Za-z0-9._:@-]+(,[A-Za-z0-9._:@-]+)*$")]


class Network(Model):
    """The pods' network. A container's own variables (trainer.env) win over what follows from these fields."""

    host_network: bool = Field(
        False,
        description="The node's own network; the namespace must allow it (Pod Security privileged). torch.masterPort"
        " 29500 then stands for a port of the job's own, from 20000 to 29999, so that jobs can share a node. gloo and"
        " NCCL are told the interface that has the node's address (launcher plain starts your program as it is: set"
        " socketInterface).",
    )
    rdma: bool = Field(
        False,
        description="Let the container lock memory (capability IPC_LOCK), as InfiniBand and RoCE need; the namespace"
        " must allow it. The device itself is asked for in trainer.resourcesPerNode.limits.",
    )
    socket_interface: Devices | None = Field(
        None, description="Interfaces for TCP: NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME."
    )
    infiniband_devices: Devices | None = Field(None, description="Adapters for RDMA: NCCL_IB_HCA.")
    nccl_debug: Literal["VERSION", "WARN", "INFO", "TRACE"] | None = Field(None, description="NCCL_DEBUG.")
