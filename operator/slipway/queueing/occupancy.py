"""Free amounts of the nodes beside the pods that are on them, kept by events: only nodes that changed are summed anew.

Read by admission.py. At thousands of nodes a sum of all pods for each change took most of a decision's time.
"""

from collections.abc import Mapping
from typing import Any

from slipway.api.common.types import GROUP
from slipway.queueing.cluster_capacity import ClusterCapacity, renewed
from slipway.queueing.demand import Demand, Node
from slipway.queueing.resources import PLACE, REQUESTS, usable
from slipway.runtime.caching.store import Change, Key, Store
from slipway.runtime.client.resource import Object, name_of, parent_of


class Occupancy:
    """Free amounts of all nodes of the cluster."""

    def __init__(self, nodes: Store, pods: Store) -> None:
        self._nodes, self._pods = nodes, pods
        # By node, those that take room there.
        self._on: dict[str, dict[Key, Object]] = {}
        self._changed: set[str] = set()
        self._floor = ClusterCapacity()
        self._read = False

    def pod_changed(self, change: Change) -> None:
        """Note that a pod came, ended, was resized, or went."""
        before, now = _place(change.old), _place(change.new)
        if before:
            self._on.get(before, {}).pop(change.key, None)
        if now and change.new is not None:
            self._on.setdefault(now, {})[change.key] = change.new
        self._changed |= {name for name in (before, now) if name}

    def node_changed(self, change: Change) -> None:
        """Note that a node came, went, or is not as it was."""
        self._changed.add(change.key.name)

    def nodes(self, demand: Demand) -> list[Node]:
        """Nodes that the scheduler would consider for these pods, whatever is free."""
        self._sum_up()
        return self._floor.nodes(demand)

    def capacity(self) -> ClusterCapacity:
        """Capacity with what is free now, as a copy for one decision."""
        self._sum_up()
        return self._floor.copy()

    def forget(self, used: ClusterCapacity) -> None:
        """Drop all but what the decision's copy has asked for."""
        self._floor.forget(used)

    def _sum_up(self) -> None:
        if not self._read:
            self._read_all()
        for name in sorted(self._changed):
            self._sum(name)
        self._changed.clear()
        if self._floor.worn:
            self._floor = renewed(self._floor)

    def _read_all(self) -> None:
        """Read the pods and nodes that were there before anybody told of them."""
        self._on.clear()
        for pod in self._pods:
            if place := _place(pod):
                self._on.setdefault(place, {})[Key(pod["metadata"]["namespace"], name_of(pod))] = pod
        self._changed |= {name_of(node) for node in self._nodes}
        self._read = True

    def _sum(self, name: str) -> None:
        node, pods = self._nodes.get("", name), self._on.get(name)
        if not pods:
            self._on.pop(name, None)
        if node is None or not usable(node):
            self._floor.drop(name)
            return
        used: dict[str, int] = {}
        foreign: dict[str, int] = {}
        for pod in (pods or {}).values():
            asked = pod["spec"].get(REQUESTS) or {}
            add(used, asked)
            parent = parent_of(pod)
            if parent is None or parent.group != GROUP:
                add(foreign, asked)
        self._floor.put(node_of(node, {name: used}, {name: foreign}))


def _place(pod: Object | None) -> str:
    """The node that has set aside what the pod asks for, while the pod has not ended."""
    if pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return ""
    return str(pod["spec"][PLACE])


def add(total: dict[str, int], requests: Mapping[str, int]) -> None:
    """Add what a pod asks for to what others do; each takes one of `pods`."""
    for name, amount in {"pods": 1, **requests}.items():
        total[name] = total.get(name, 0) + amount


def node_of(node: Object, used: Mapping[str, Mapping[str, int]], foreign: Mapping[str, Mapping[str, int]]) -> Node:
    """A node, less what pods have of it; `foreign`: those that never give it back for a gang."""
    whole: Mapping[str, int] = node["status"]["allocatable"]
    name = name_of(node)

    def without(taken: Mapping[str, int]) -> dict[str, int]:
        return {resource: max(0, amount - taken.get(resource, 0)) for resource, amount in whole.items()}

    labels: Any = node["metadata"].get("labels") or {}
    taints = tuple(node["spec"].get("taints") or ())
    return Node(name, without(foreign.get(name, {})), without(used.get(name, {})), labels, taints)
