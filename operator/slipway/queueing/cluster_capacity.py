"""Capacity of the cluster for equal pods, in what the nodes have free. No I/O; asked by backfill.py.

Pods of a gang are equal, so the gang fits exactly when the numbers of pods that each node can take add up to it: no
search is needed, unless they must be spread over zones or racks (topology.py).

One object is kept from decision to decision, and only nodes that changed are put anew; each decision tries things on a
copy, which begins with all that its ground knows of how pods of each kind fit.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from slipway.queueing.demand import Demand, Node, takes
from slipway.queueing.fit import AmountIndex, EligibleNodes, Fit
from slipway.queueing.resources import Amounts
from slipway.queueing.topology import CandidateNode, Spread, spread_out


class ClusterCapacity:
    """The nodes while gangs are put on them. Gangs of equal pods share one look at all nodes, gangs that may go to the
    same nodes one choice of them, and nodes with equal amounts one answer.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes: dict[str, Node] = {}
        self._free: dict[str, dict[str, int]] = {}
        self._fits: dict[str, Fit] = {}
        self._wheres: dict[str, EligibleNodes] = {}
        self._numbers = AmountIndex()
        # Numbers of the amounts that each node has now, and at most.
        self.has: dict[str, int] = {}
        self.most: dict[str, int] = {}
        # What this is a copy of, and where it is another one already.
        self._ground: ClusterCapacity | None = None
        self._touched: set[str] = set()
        # Gangs for which no spread was found since a node last changed.
        self._stuck: set[tuple[str, int, str]] = set()
        self.version = 0
        for node in nodes:
            self.put(node)

    # Nodes.

    def put(self, node: Node) -> None:
        """Add a node, or replace one that is not as it was."""
        before = self._nodes.get(node.name)
        if before is None or (before.labels, before.taints) != (node.labels, node.taints):
            self.drop(node.name)
            for where in self._wheres.values():
                if takes(node, where.demand):
                    where.able[node.name] = None
        else:
            self._count(node.name, -1)
        self._nodes[node.name] = node
        self._free[node.name] = dict(node.free)
        self.has[node.name] = self._numbers.of(node.free)
        self.most[node.name] = self._numbers.of(node.capacity)
        self._count(node.name, 1)

    def drop(self, name: str) -> None:
        """Remove a node that is gone, or takes no pods any more."""
        if name not in self._nodes:
            return
        self._count(name, -1)
        for where in self._wheres.values():
            where.able.pop(name, None)
        for known in (self._nodes, self._free, self.has, self.most):
            known.pop(name)

    def _count(self, name: str, sign: int) -> None:
        self._change()
        for fit in self._fits.values():
            if name in fit.where.able:
                fit.count(self.has[name], self.most[name], sign)
        for where in self._wheres.values():
            where.amounts = None

    def forget(self, used: "ClusterCapacity") -> None:
        """Drop all but what the copy has asked for: other kinds of pods will hardly come again."""
        self._fits = {kind: fit for kind, fit in self._fits.items() if kind in used._fits}
        asked = {id(fit.where) for fit in self._fits.values()}
        self._wheres = {name: where for name, where in self._wheres.items() if id(where) in asked}

    @property
    def worn(self) -> bool:
        """Tell whether the capacity has met so many different amounts that a new one takes less memory."""
        return len(self._numbers) > 1000 + 8 * len(self._nodes)

    def nodes(self, demand: Demand) -> list[Node]:
        """Nodes that the scheduler would consider for these pods."""
        return [self._nodes[name] for name in self._where_of(demand).able]

    # Questions.

    def knows(self, demand: Demand) -> bool:
        """Tell whether such pods were asked about here before."""
        return demand.kind in self._fits

    def fit(self, demand: Demand) -> Fit:
        """Fit of such pods on the nodes as they are now; not to be changed."""
        if demand.kind not in self._fits:
            if self._ground is not None:
                fit = self._ground.fit(demand).on(self.has, self.most, self._touched, self._ground.has)
            else:
                fit = Fit(self._numbers, self._where_of(demand), demand, self.has, self.most)
            self._fits[demand.kind] = fit
        return self._fits[demand.kind]

    def _where_of(self, demand: Demand) -> EligibleNodes:
        if self._ground is not None:
            return self._ground._where_of(demand)
        where = self._wheres.get(demand.where)
        if where is None:
            able = dict.fromkeys(node.name for node in self._nodes.values() if takes(node, demand))
            where = self._wheres[demand.where] = EligibleNodes(demand, able)
        if where.amounts is None:
            has, most = (Counter(map(of.__getitem__, where.able)) for of in (self.has, self.most))
            where.amounts = has, most
        return where

    def pack(self, demand: Demand, *, partly: bool = False) -> dict[str, int] | None:
        """Placement of the pods: their number by node; None if not all fit. `partly`: as many as fit instead.

        Nodes with the least room go first: large holes are kept for those who need them.
        """
        fit = self.fit(demand)
        if fit.total < demand.count and not partly:
            return None
        if demand.spreads:
            spread = self._packed_and_spread(demand, fit)
            if spread is not None or not partly:
                return spread
        return _first(_fullest_first(fit.rooms), fit.rooms, demand.count)

    def _packed_and_spread(self, demand: Demand, fit: Fit) -> dict[str, int] | None:
        skews = repr((demand.spreads, sorted(demand.there.items())))
        if (demand.kind, demand.count, skews) in self._stuck:
            return None
        spread = self._spread(demand, demand.spreads, list(_fullest_first(fit.rooms)), fit.rooms)
        if spread is None:
            self._stuck.add((demand.kind, demand.count, skews))
        return spread

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
        """Description of a spread that the free room is too lopsided for, and where there is the least; "" if none."""
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
        """Spread the pods over domains. Those without any room count, too: nobody may have many more pods than they."""
        full = sorted(name for name in self.fit(demand).most if name not in rooms)
        sites = []
        for name in (*order, *full):
            path = tuple(self._nodes[name].labels[spread.key] for spread in spreads)
            sites.append(CandidateNode(name, path, rooms.get(name, 0), demand.there.get(name, 0)))
        return spread_out(sites, spreads, demand.count)

    # Trying things on.

    def copy(self) -> "ClusterCapacity":
        """Copy with what is free now, to try things on, while this one stays as it is."""
        other = type(self)()
        other._ground, other._nodes, other._numbers = self, self._nodes, self._numbers
        other._free, other.has, other.most = dict(self._free), dict(self.has), self.most
        return other

    def take(self, placed: Mapping[str, int], each: Amounts) -> None:
        """Put so many pods on these nodes; what is free never falls below zero."""
        taken = {**each, "pods": 1}
        for name, count in placed.items():
            free = self._free[name]
            less = {r: max(0, free[r] - count * amount) for r, amount in taken.items() if r in free}
            self._set(name, {**free, **less})

    def give_back(self, held: Mapping[str, Amounts]) -> None:
        """Free what pods on these nodes have."""
        for name in held.keys() & self._free.keys():
            free, most = self._free[name], self._nodes[name].capacity
            more = {r: min(most.get(r, 0), free[r] + amount) for r, amount in held[name].items() if r in free}
            self._set(name, {**free, **more})

    def take_away(self, held: Mapping[str, Amounts]) -> None:
        """Take what pods on these nodes have: the opposite of `give_back`."""
        for name in held.keys() & self._free.keys():
            free = self._free[name]
            less = {r: max(0, free[r] - amount) for r, amount in held[name].items() if r in free}
            self._set(name, {**free, **less})

    def _set(self, name: str, free: dict[str, int]) -> None:
        before, number = self.has[name], self._numbers.of(free)
        self._free[name], self.has[name] = free, number
        self._touched.add(name)
        self._change()
        for fit in self._fits.values():
            if name in fit.where.able:
                fit.changed(name, before, number)
        for where in self._wheres.values():
            where.amounts = None

    def _change(self) -> None:
        self.version += 1
        self._stuck.clear()


def renewed(capacity: ClusterCapacity) -> ClusterCapacity:
    """New capacity of the same nodes, which has met no other amounts."""
    return ClusterCapacity(replace(node, free=capacity._free[name]) for name, node in capacity._nodes.items())


def _fullest_first(rooms: Mapping[str, int]) -> Iterator[str]:
    """Node names by room, then by name; sorted as far as is asked: of thousands of nodes a gang takes some."""
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
