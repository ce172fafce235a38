"""Do so many equal pods fit into what the nodes have free? Pure; asked by line.py.

Amounts are whole numbers by resource: thousandths of CPUs, bytes, devices, and `pods`. Pods of a gang are equal, so the
gang fits exactly when the numbers of pods that each node can take add up to it: no search is needed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Amounts = Mapping[str, int]
_REPELS = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True)
class Node:
    """`capacity`: what gangs can have of it at most, when all other gangs have ended. `free`: what nobody has now."""

    name: str
    capacity: Amounts
    free: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Demand:
    """`count` pods that each ask for `each`; the rest is Kubernetes' own fields of a pod's spec."""

    count: int
    each: Amounts
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    terms: tuple[Mapping[str, Any], ...] = ()


def takes(node: Node, demand: Demand) -> bool:
    """Whether the scheduler would consider the node for these pods at all."""
    return (
        all(node.labels.get(key) == value for key, value in demand.selector.items())
        and all(_tolerated(taint, demand.tolerations) for taint in node.taints if taint.get("effect") in _REPELS)
        and (not demand.terms or any(_term_holds(term, node.labels) for term in demand.terms))
    )


def room(free: Amounts, each: Amounts) -> int:
    """How many pods fit; every pod takes one of `pods`."""
    asked = {"pods": 1, **{name: amount for name, amount in each.items() if amount > 0}}
    return max(0, min(free.get(name, 0) // amount for name, amount in asked.items()))


def rooms(nodes: Iterable[Node], demand: Demand) -> dict[str, int]:
    """By node, how many of the pods fit now; nodes without room are left out."""
    found = {node.name: room(node.free, demand.each) for node in nodes if takes(node, demand)}
    return {name: count for name, count in found.items() if count > 0}


def pack(nodes: Sequence[Node], demand: Demand, *, partly: bool = False) -> dict[str, int] | None:
    """Which nodes take how many of the pods; None if not all fit. `partly`: as many as fit instead.

    Nodes with the least room go first: large holes are kept for those who need them.
    """
    found = rooms(nodes, demand)
    if sum(found.values()) < demand.count and not partly:
        return None
    placed: dict[str, int] = {}
    left = demand.count
    for name in sorted(found, key=lambda name: (found[name], name)):
        if left <= 0:
            break
        placed[name] = min(left, found[name])
        left -= placed[name]
    return placed


def less(nodes: Iterable[Node], placed: Mapping[str, int], each: Amounts) -> list[Node]:
    """The nodes with these pods on them; what is free never falls below zero."""
    return [
        Node(node.name, node.capacity, _minus(node.free, each, placed[node.name]), node.labels, node.taints)
        if node.name in placed
        else node
        for node in nodes
    ]


def _minus(free: Amounts, each: Amounts, count: int) -> dict[str, int]:
    taken = {**each, "pods": 1}
    return {name: max(0, amount - count * taken.get(name, 0)) for name, amount in free.items()}


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        toleration.get("effect") in (None, "", taint.get("effect"))
        and toleration.get("key") in (None, "", taint.get("key"))
        and (toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or ""))
        for toleration in tolerations
    )


def _term_holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(_holds(requirement, labels) for requirement in term.get("matchExpressions") or ())


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    return _OPERATORS[requirement["operator"]](value, values)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def _above(value: str | None, values: Sequence[str]) -> bool:
    number = _number(value)
    return number is not None and number > int(values[0])


def _below(value: str | None, values: Sequence[str]) -> bool:
    number = _number(value)
    return number is not None and number < int(values[0])


_OPERATORS: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
    "Gt": _above,
    "Lt": _below,
}
