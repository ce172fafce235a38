"""Resources that pods ask for and nodes have, from the API's objects; and how little of them is worth keeping.

The cache holds all pods of the cluster for this, so a stranger's pod is reduced to its node, phase and requests.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from slipway.api.common.quantity import LARGEST, parse_quantity
from slipway.reconcile.labels import MANAGED
from slipway.runtime.client.resource import Object
from slipway.runtime.client.transform import pick, slim_pod

Amounts = Mapping[str, int]
"""By resource: thousandths of CPUs, bytes, devices."""

# Where the sum of a pod's requests is kept in its slim spec, and the node where it takes them.
REQUESTS, PLACE = "requests", "place"
# Of one pod, by name, and its containers: a node has fewer kinds of things to give, and no kubelet runs more.
MOST_REQUESTS, MOST_CONTAINERS = 32, 256


def amounts(quantities: Mapping[str, Any]) -> dict[str, int]:
    """Kubernetes' quantities as whole numbers: CPUs in thousandths, rounded up; so many of them."""
    asked = islice(quantities.items(), MOST_REQUESTS)
    return {name: math.ceil(_amount(text) * (1000 if name == "cpu" else 1)) for name, text in asked}


def _amount(text: int | str) -> Decimal:
    try:
        return parse_quantity(text)
    except ValueError:
        # Some server has taken it, and no stranger's pod may end a LIST of all.
        return LARGEST


def requests_of(resources: Mapping[str, Any]) -> dict[str, int]:
    """Requests of one container: a limit without a request is a request."""
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def pod_requests(pod: Mapping[str, Any]) -> dict[str, int]:
    """Requests that the scheduler sets aside for a pod, by the formula of k8s.io/component-helpers (PodRequests).

    Containers and native sidecars together, or what the init containers need at their worst moment; what the pod itself
    asks for instead, where it does (KEP-2837); overhead. After a resize, what the kubelet still holds counts, too.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    instead: dict[str, int] | None = {} if _infeasible(status) else None
    granted, granted_first = (_by_name(status, field) for field in ("containerStatuses", "initContainerStatuses"))
    together = _sum(_held(one, granted, instead) for one in _first(spec, "containers"))
    # Init containers run one by one, each beside the native sidecars that began before it (KEP-753).
    beside: dict[str, int] = {}
    worst: dict[str, int] = {}
    for container in _first(spec, "initContainers"):
        lasting = container.get("restartPolicy") == "Always"
        alone = _held(container, granted_first if lasting else {}, instead)
        beside = _sum([beside, alone]) if lasting else beside
        worst = _most([worst, beside if lasting else _sum([beside, alone])])
    asked = _most([_sum([together, beside]), worst])
    asked |= _of_the_pod(spec, status, instead, asked)
    return dict(islice(_sum([asked, amounts(spec.get("overhead") or {})]).items(), MOST_REQUESTS))


def _first(spec: Mapping[str, Any], field: str) -> Iterable[Mapping[str, Any]]:
    return islice(spec.get(field) or (), MOST_CONTAINERS)


def _infeasible(status: Mapping[str, Any]) -> bool:
    """Tell whether the node can never grant the resize: then what the spec wishes for is not set aside."""
    pending = (c for c in status.get("conditions") or () if c.get("type") == "PodResizePending")
    return status.get("resize") == "Infeasible" or any(
        c.get("status") == "True" and c.get("reason") == "Infeasible" for c in pending
    )


def _by_name(status: Mapping[str, Any], field: str) -> dict[str, Mapping[str, Any]]:
    return {str(entry.get("name")): entry for entry in _first(status, field)}


def _held(
    container: Mapping[str, Any], granted: Mapping[str, Mapping[str, Any]], instead: Mapping[str, int] | None
) -> dict[str, int]:
    """Requests of one container, as asked for and as its node has granted them; `instead` of the former, if given."""
    asked = requests_of(container.get("resources") or {})
    return _or_granted(asked, granted.get(container.get("name") or "", {}), instead, amounts)


def _of_the_pod(
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    instead: Mapping[str, int] | None,
    containers: Mapping[str, int],
) -> dict[str, int]:
    """Requests of the pod as a whole: CPU, memory and huge pages only. A limit that nobody requests is a request."""
    requests, limits = (_whole_pods((spec.get("resources") or {}).get(key) or {}) for key in ("requests", "limits"))
    asked = {name: amount for name, amount in limits.items() if name not in containers} | requests
    return _or_granted(asked, status, instead, _whole_pods) if asked else {}


def _or_granted(
    asked: dict[str, int],
    status: Mapping[str, Any],
    instead: Mapping[str, int] | None,
    read: Callable[[Mapping[str, Any]], dict[str, int]],
) -> dict[str, int]:
    real, allocated = read((status.get("resources") or {}).get("requests") or {}), status.get("allocatedResources")
    if not real and not allocated:
        return asked
    return _most([asked if instead is None else instead, real, read(allocated or {})])


def _whole_pods(quantities: Mapping[str, Any]) -> dict[str, int]:
    known = {n: q for n, q in quantities.items() if n in ("cpu", "memory") or n.startswith("hugepages-")}
    return amounts(known)


def _most(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = max(total.get(name, 0), amount)
    return total


def slim_footprint(pod: Object) -> Object:
    """A pod of ours with its status, a stranger's without; both with the sum of their requests, once they have a node.

    A pod without a node, or at its end, takes no room: what it asks for may be as long as its owner likes.
    """
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase") or "Pending"
    thin = slim_pod(pod)
    thin["spec"][PLACE] = sys.intern(spec[PLACE] if PLACE in spec else _place(pod))
    if thin["spec"][PLACE] and phase not in ("Succeeded", "Failed"):
        asked = spec[REQUESTS] if REQUESTS in spec else pod_requests(pod)
        thin["spec"][REQUESTS] = dict(islice(sorted(asked.items()), MOST_REQUESTS))
    if MANAGED not in (thin["metadata"].get("labels") or {}):
        # No owner: what lost our label is nobody's child any more.
        thin["metadata"] = pick(thin["metadata"], "name", "namespace", "uid", "resourceVersion")
        thin["spec"].pop("nodeName", None)
        thin["status"] = {"phase": sys.intern(phase)}
    return thin


def _place(pod: Object) -> str:
    """The node that has set aside what the pod asks for; "" while none has.

    Anybody may write a nodeName into his own pod. Only a scheduler's binding, or the kubelet that has taken the pod in,
    makes it PodScheduled; one that asks for more than there is, the kubelet refuses.
    """
    status = pod.get("status") or {}
    bound = any(c.get("type") == "PodScheduled" and c.get("status") == "True" for c in status.get("conditions") or ())
    node = (pod.get("spec") or {}).get("nodeName") or ""
    return str(node) if bound or status.get("phase") not in (None, "", "Pending") else ""


def slim_node(node: Object) -> Object:
    """Node reduced to labels, taints, what can be had of it, and whether it is ready: heartbeats are no news."""
    status = node.get("status") or {}
    ready = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
    return pick(node, "apiVersion", "kind") | {
        "metadata": pick(node["metadata"], "name", "uid", "resourceVersion", "labels"),
        "spec": {key: value for key, value in (node.get("spec") or {}).items() if key in ("taints", "unschedulable")},
        "status": {
            "allocatable": _whole(status.get("allocatable") or {}),
            "conditions": [{"type": "Ready", "status": c.get("status")} for c in ready],
        },
    }


def _whole(quantities: Mapping[str, Any]) -> dict[str, int]:
    """Quantities as whole numbers: the server gives all as texts; what is kept are whole numbers already."""
    return dict(quantities) if whole(quantities) else amounts(quantities)


def whole(quantities: Mapping[str, Any]) -> bool:
    """Tell whether the quantities are whole numbers already."""
    return all(isinstance(quantity, int) for quantity in quantities.values())


def slim_priority(priority_class: Object) -> Object:
    """PriorityClass reduced to its value, whether it preempts, and whether it is the default."""
    kept = pick(priority_class, "apiVersion", "kind", "value", "preemptionPolicy", "globalDefault")
    return kept | {"metadata": pick(priority_class["metadata"], "name", "uid", "resourceVersion")}


def usable(node: Object) -> bool:
    """Tell whether new pods can go to the node."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    return ready and not node["spec"].get("unschedulable")


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total
