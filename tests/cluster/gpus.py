"""Gives a node GPUs that it does not have: scheduler and kubelet count what the node's status says."""

from __future__ import annotations

from tests.cluster.rest import Client, Object

GPUS = 4
RESOURCE = "nvidia.com/gpu"
LABELS = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": str(GPUS), "nvidia.com/gpu.memory": "81920"}  # MiB


def missing(node: Object) -> bool:
    """Tell whether a node that is labelled as a GPU node shows no GPUs."""
    labelled = node["metadata"].get("labels", {}).get("nvidia.com/gpu.present") == "true"
    return bool(labelled and node["status"].get("allocatable", {}).get(RESOURCE) != str(GPUS))


def give(client: Client, name: str) -> None:
    """Add the GPUs to a node's capacity, and the labels by which GPU nodes are known."""
    client.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": LABELS}})
    amount = {RESOURCE: str(GPUS)}
    client.patch(f"/api/v1/nodes/{name}/status", {"status": {"capacity": amount, "allocatable": amount}})
