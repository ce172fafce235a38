"""Do so many equal pods fit into what the nodes have free? No I/O; asked by backfill.py.

Amounts are whole numbers by resource: thousandths of CPUs, bytes, devices, and `pods`. Pods of a gang are equal, so the
gang fits exactly when the numbers of pods that each node can take add up to it: no search is needed, unless they must
be spread over zones or racks (topology.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from slipway.queueing.resources import Amounts
from slipway.queueing.selectors import term_holds, tolerated
from slipway.queueing.topology import Site, Spread, spread_out

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
    """`count` pods that each ask for `each`; the rest is Kubernetes' own fields of a pod's spec.

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


def takes(node: Node, demand: Demand) -> bool:
    """Whether the scheduler would consider the node for these pods at all."""
    return (
        all(node.labels.get(key) == value for key, value in demand.selector.items())
        and all(tolerated(taint, demand.tolerations) for taint in node.taints if taint.get("effect") in _REPELS)
        and (not demand.terms or any(term_holds(term, node.labels) for term in demand.terms))
        and all(spread.key in node.labels for spread in demand.spreads)
    )


def room(free: Amounts, each: Amounts, *, apart: bool = False) -> int:
    """How many pods fit; every pod takes one of `pods`."""
    asked = {"pods": 1, **{name: amount for name, amount in each.items() if amount > 0}}
    fitting = max(0, min(free.get(name, 0) // amount for name, amount in asked.items()))
    return min(1, fitting) if apart else fitting


@dataclass
class _Where:
    """Nodes that some pods may go to; how many of them have which amounts now (`has`) and at most, by number."""

    able: dict[str, None]
    has: Counter[int]
    most: Counter[int]


class _Fit:
    """How pods of one kind fit: all together now and at most, and by node where somebody asks."""

    def __init__(self, floor: "Floor", where: _Where, demand: Demand) -> None:
        self._floor, self.where = floor, where
        self._each, self._apart = demand.each, demand.apart
        self._known: dict[int, int] = {}
        self._rooms: dict[str, int] | None = None
        self.total = sum(count * self.into(number) for number, count in where.has.items() if count)
        self.most_total = sum(count * self.into(number) for number, count in where.most.items())

    def into(self, number: int) -> int:
        """How many go into amounts: most nodes of a cluster have one of few."""
        if number not in self._known:
            self._known[number] = room(self._floor.amounts_of(number), self._each, apart=self._apart)
        return self._known[number]

    @property
    def rooms(self) -> dict[str, int]:
        """By node now, where not 0."""
        if self._rooms is None:
            has = self._floor.has
            self._rooms = {name: count for name in self.where.able if (count := self.into(has[name])) > 0}
        return self._rooms

    @cached_property
    def most(self) -> dict[str, int]:
        """By node, when all gangs have ended."""
        return {name: self.into(self._floor.most[name]) for name in self.where.able}

    def changed(self, name: str, before: int, number: int) -> None:
        """A node has other amounts."""
        now = self.into(number)
        self.total += now - self.into(before)
        if self._rooms is not None:
            self._rooms.pop(name, None)
            if now > 0:
                self._rooms[name] = now


class Floor:
    """The nodes while gangs are put on them. Gangs of equal pods share one look at all nodes, gangs that may go to the
    same nodes one choice of them, and nodes with equal amounts one answer.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._free = {name: dict(node.free) for name, node in self._nodes.items()}
        self._fits: dict[str, _Fit] = {}
        self._wheres: dict[str, _Where] = {}
        self._numbers: dict[frozenset[tuple[str, int]], int] = {}
        self._amounts: list[Amounts] = []
        # Numbers of the amounts that each node has now, and at most.
        self.has = {name: self._number_of(free) for name, free in self._free.items()}
        self.most = {name: self._number_of(node.capacity) for name, node in self._nodes.items()}

    def knows(self, demand: Demand) -> bool:
        """Whether `fit` needs no look at the nodes."""
        return _kind(demand) in self._fits

    def fit(self, demand: Demand) -> _Fit:
        """How such pods fit now; not to be changed."""
        kind = _kind(demand)
        if kind not in self._fits:
            self._fits[kind] = _Fit(self, self._where_of(demand), demand)
        return self._fits[kind]

    def amounts_of(self, number: int) -> Amounts:
        """The amounts of this number."""
        return self._amounts[number]

    def _where_of(self, demand: Demand) -> _Where:
        where = _where(demand)
        if where not in self._wheres:
            able = dict.fromkeys(node.name for node in self._nodes.values() if takes(node, demand))
            has, most = Counter(self.has[name] for name in able), Counter(self.most[name] for name in able)
            self._wheres[where] = _Where(able, has, most)
        return self._wheres[where]

    def _number_of(self, amounts: Amounts) -> int:
        """Of these amounts among all that were met."""
        number = self._numbers.setdefault(frozenset(amounts.items()), len(self._amounts))
        if number == len(self._amounts):
            self._amounts.append(dict(amounts))
        return number

    def pack(self, demand: Demand, *, partly: bool = False) -> dict[str, int] | None:
        """Which nodes take how many of the pods; None if not all fit. `partly`: as many as fit instead.

        Nodes with the least room go first: large holes are kept for those who need them.
        """
        fit = self.fit(demand)
        if fit.total < demand.count and not partly:
            return None
        order = _fullest_first(fit.rooms)
        if demand.spreads:
            spread = self._spread(demand, demand.spreads, list(order), fit.rooms)
            if spread is not None or not partly:
                return spread
            order = _fullest_first(fit.rooms)
        return _first(order, fit.rooms, demand.count)

    def keep(self, demand: Demand) -> dict[str, int] | None:
        """Nodes that will take all the pods once others have ended: those with the most room now. None if none can."""
        fit = self.fit(demand)
        if fit.most_total < demand.count:
            return None
        order = sorted(fit.most, key=lambda name: (-fit.rooms.get(name, 0), -fit.most[name], name))
        if demand.spreads:
            return self._spread(demand, demand.spreads, order, fit.most)
        return _first(order, fit.most, demand.count)

    def lopsided(self, demand: Demand) -> str:
        """Which spread the free room is too lopsided for, and where there is the least: for a status; "" if none."""
        rooms = self.fit(demand).rooms
        for spread in demand.spreads:
            if self._spread(demand, (spread,), sorted(rooms), rooms) is None:
                domain, least = min(self._by_domain(demand, spread.key).items(), key=lambda item: (item[1], item[0]))
                return f"not with maxSkew {spread.skew} over {spread.key}: {domain} has room for {least}"
        if demand.spreads and self.pack(demand) is None:
            return f"not with maxSkew over {' and '.join(spread.key for spread in demand.spreads)} at once"
        return ""

    def _by_domain(self, demand: Demand, key: str) -> dict[str, int]:
        fit = self.fit(demand)
        found: dict[str, int] = {}
        for name in fit.most:
            domain = self._nodes[name].labels[key]
            found[domain] = found.get(domain, 0) + fit.rooms.get(name, 0)
        return found

    def _spread(
        self, demand: Demand, spreads: tuple[Spread, ...], order: Sequence[str], rooms: Mapping[str, int]
    ) -> dict[str, int] | None:
        """Domains without any room count, too: nobody may have many more pods than they."""
        full = [name for name in self.fit(demand).most if name not in rooms]
        sites = []
        for name in (*order, *full):
            path = tuple(self._nodes[name].labels[spread.key] for spread in spreads)
            sites.append(Site(name, path, rooms.get(name, 0), demand.there.get(name, 0)))
        return spread_out(sites, spreads, demand.count)

    def take(self, placed: Mapping[str, int], each: Amounts) -> None:
        """Put so many pods on these nodes; what is free never falls below zero."""
        taken = {**each, "pods": 1}
        for name, count in placed.items():
            free = self._free[name]
            for resource, amount in taken.items():
                if resource in free:
                    free[resource] = max(0, free[resource] - count * amount)
        self._refresh(placed.keys())

    def copy(self) -> "Floor":
        """What is free now, to try things on."""
        return Floor(replace(node, free=self._free[name]) for name, node in self._nodes.items())

    def give_back(self, held: Mapping[str, Amounts]) -> None:
        """What pods on these nodes have is free."""
        for name in held.keys() & self._free.keys():
            free, most = self._free[name], self._nodes[name].capacity
            free |= {r: min(most.get(r, 0), free[r] + amount) for r, amount in held[name].items() if r in free}
        self._refresh(held.keys() & self._free.keys())

    def take_away(self, held: Mapping[str, Amounts]) -> None:
        """The opposite."""
        for name in held.keys() & self._free.keys():
            free = self._free[name]
            free |= {r: max(0, free[r] - amount) for r, amount in held[name].items() if r in free}
        self._refresh(held.keys() & self._free.keys())

    def _refresh(self, names: Set[str]) -> None:
        for name in names:
            before, number = self.has[name], self._number_of(self._free[name])
            self.has[name] = number
            for where in self._wheres.values():
                if name in where.able:
                    where.has[before] -= 1
                    where.has[number] += 1
            for fit in self._fits.values():
                if name in fit.where.able:
                    fit.changed(name, before, number)


def _fullest_first(rooms: Mapping[str, int]) -> Iterator[str]:
    """By room, then by name; sorted as far as is asked: of thousands of nodes a gang takes some."""
    alike: dict[int, list[str]] = {}
    for name, count in rooms.items():
        alike.setdefault(count, []).append(name)
    for count in sorted(alike):
        yield from sorted(alike[count])


def _first(order: Iterable[str], most: Mapping[str, int], count: int) -> dict[str, int]:
    placed: dict[str, int] = {}
    for name in order:
        if count <= 0:
            break
        if most[name] > 0:
            placed[name] = min(count, most[name])
            count -= placed[name]
    return placed


def _where(demand: Demand) -> str:
    keys = sorted(spread.key for spread in demand.spreads)
    return repr((sorted(demand.selector.items()), demand.tolerations, demand.terms, keys))


def _kind(demand: Demand) -> str:
    return repr((demand.apart, sorted(demand.each.items()))) + _where(demand)
