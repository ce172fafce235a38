"""A node, the equal pods of a gang, and whether and how often they fit there. Pure; for cluster_capacity.py.

Amounts are whole numbers by resource: thousandths of CPUs, bytes, devices, and `pods`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.queueing.resources import Amounts
from slipway.queueing.selectors import term_holds, tolerated
from slipway.queueing.topology import Spread

_REPELS = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True)
class Node:
    """Node with its amounts, labels and taints.

    `capacity`: what gangs can have of it at most, when all other gangs have ended. `free`: what nobody has now.
    """

    name: str
    capacity: Amounts
    free: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Demand:
    """Demand of `count` pods that each ask for `each`; the rest is Kubernetes' own fields of a pod's spec.

    `apart`: no two on one node, since each takes the same port of it. `spreads`: topologySpread that a scheduler holds
    to; `there`: how many pods of the gang, beside these, nodes have already.
    """

    count: int
    each: Amounts
    apart: bool = False
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    terms: tuple[Mapping[str, Any], ...] = ()
    spreads: tuple[Spread, ...] = ()
    there: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def where(self) -> str:
        """Key that is the same for all pods that may go to the same nodes."""
        keys = sorted(spread.key for spread in self.spreads)
        return repr((sorted(self.selector.items()), self.tolerations, self.terms, keys))

    @cached_property
    def kind(self) -> str:
        """Key that is the same for all pods that fit in the same way."""
        return repr((self.apart, sorted(self.each.items()))) + self.where


def takes(node: Node, demand: Demand) -> bool:
    """Tell whether the scheduler would consider the node for these pods at all."""
    return (
        all(node.labels.get(key) == value for key, value in demand.selector.items())
        and all(tolerated(taint, demand.tolerations) for taint in node.taints if taint.get("effect") in _REPELS)
        and (not demand.terms or any(term_holds(term, node.labels) for term in demand.terms))
        and all(spread.key in node.labels for spread in demand.spreads)
    )


def room(free: Amounts, each: Amounts, *, apart: bool = False) -> int:
    """Number of pods that fit; every pod takes one of `pods`."""
    asked = {"pods": 1, **{name: amount for name, amount in each.items() if amount > 0}}
    fitting = max(0, min(free.get(name, 0) // amount for name, amount in asked.items()))
    return min(1, fitting) if apart else fitting
