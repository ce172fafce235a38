"""Autoscalers of the cluster's nodes, as the operator finds them at its start; read by assembly.py."""

from collections.abc import Sequence

from slipway.runtime.client.errors import Forbidden, NotFound
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import CONFIGMAPS, Resource

# How Karpenter, and Cluster Autoscaler, show that they are there.
_AUTOSCALED = (
    Resource("karpenter.sh", "v1", "nodepools", "NodePool", namespaced=False),
    Resource("karpenter.sh", "v1beta1", "nodepools", "NodePool", namespaced=False),
    Resource("autoscaling.x-k8s.io", "v1", "provisioningrequests", "ProvisioningRequest"),
    Resource("autoscaling.x-k8s.io", "v1beta1", "provisioningrequests", "ProvisioningRequest"),
)
_AUTOSCALER_STATUS = ("kube-system", "cluster-autoscaler-status")


async def scales_up(kube: Kube, namespaces: Sequence[str]) -> bool:
    """Tell whether the cluster shows an autoscaler that acts on pods without a node.

    `namespaces`: those that alone may be read; empty for all.
    """
    for resource in _AUTOSCALED:
        if await kube.serves(resource):
            return True
    if namespaces:
        return False
    try:
        await kube.get(CONFIGMAPS, *_AUTOSCALER_STATUS)
    except (NotFound, Forbidden):
        return False
    return True
