"""Nodes that are being emptied, as services hear of them: by a cordon, or by the taint of an autoscaler."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slipway.inferenceservice.service import KIND
from slipway.reconcile import labels
from slipway.runtime.caching.cache import Cache, Change
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import NODES, PODS, Object

# What Kubernetes, Cluster Autoscaler and Karpenter put on a node before they evict its pods.
TAINTS = frozenset(
    {
        "node.kubernetes.io/unschedulable",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
    }
)
# Drains of many nodes at a time cost one look through the pods.
PAUSE = 0.2


def leaves(node: Mapping[str, Any] | None) -> bool:
    """Tell whether a node is being emptied: no new pod goes to it. One that is gone has no pods to evict."""
    spec = (node or {}).get("spec") or {}
    return bool(spec.get("unschedulable")) or any(taint.get("key") in TAINTS for taint in spec.get("taints") or ())


def leaving(cache: Cache, pods: Iterable[Object]) -> frozenset[str] | None:
    """Nodes of these pods that are being emptied; None where the operator may not read nodes."""
    nodes = cache.get(NODES)
    if nodes is None:
        return None
    names = {(pod.get("spec") or {}).get("nodeName") or "" for pod in pods}
    return frozenset(name for name in names if name and leaves(nodes.get("", name)))


class NodeDrains:
    """Wakes the services that have pods on nodes whose emptying begins or ends."""

    def __init__(
        self, cache: Cache, mark: Callable[[Key], None], later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        """`later`: call something so many seconds from now."""
        self._cache, self._mark, self._later = cache, mark, later
        self._names: set[str] = set()

    def changed(self, change: Change) -> None:
        """Hear of a change of a node."""
        if leaves(change.old) == leaves(change.new):
            return
        if not self._names:
            self._later(PAUSE, self._wake)
        self._names.add(change.key.name)

    def _wake(self) -> None:
        names, self._names = self._names, set()
        concerned = set()
        for pod in self._cache[PODS]:
            marks = pod["metadata"].get("labels") or {}
            here = (pod.get("spec") or {}).get("nodeName") in names
            if here and marks.get(labels.KIND) == KIND and marks.get(labels.JOB_NAME):
                concerned.add(Key(pod["metadata"]["namespace"], marks[labels.JOB_NAME]))
        for key in sorted(concerned):
            self._mark(key)
