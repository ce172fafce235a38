"""Topology spread: pods of a gang in zones, racks or nodes as it demands. Pure; for cluster_capacity.py.

A label divides the nodes into domains; no domain may get more than `skew` pods more than the one with the fewest, which
may be one without room. Of one label every order in which a scheduler binds the pods gets there: it is stuck only when
the emptiest domain is full and all others have `skew` more, and then no placement has more pods.

Exact for one label, and for several whose domains lie within each other (nodes in racks in zones). Of labels that cross
each other nothing is promised: pods that find no place then are shown as Unschedulable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Path = tuple[str, ...]

# Domains that one search looks at: some milliseconds. Skews of a few pods need far fewer; of several labels with skews
# of hundreds a spread may not be found, and the gang waits.
MOST_VISITS = 20_000


@dataclass(frozen=True)
class Spread:
    """Limit of `skew` pods more in one domain of the label `key` than in another."""

    key: str
    skew: int


@dataclass(frozen=True)
class CandidateNode:
    """A node as a place in the domains: its labels' values, how many pods it takes, how many of the gang's it has."""

    name: str
    path: Path
    room: int
    there: int = 0


class _Tree:
    """Domains within domains; the coarsest label first. A domain is the path of values that leads to it."""

    def __init__(self, sites: Sequence[CandidateNode]) -> None:
        self.room: dict[Path, int] = {}
        self.there: dict[Path, int] = {}
        self.nodes: dict[Path, list[CandidateNode]] = {}
        self.levels: list[list[Path]] = [[] for _ in sites[0].path]
        self.children: dict[Path, list[Path]] = {}
        for site in sites:
            for depth in range(len(site.path)):
                self._add(site, site.path[: depth + 1])
            self.nodes.setdefault(site.path, []).append(site)

    def _add(self, site: CandidateNode, domain: Path) -> None:
        if domain not in self.room:
            self.levels[len(domain) - 1].append(domain)
            self.children.setdefault(domain[:-1], []).append(domain)
        self.room[domain] = self.room.get(domain, 0) + site.room
        self.there[domain] = self.there.get(domain, 0) + site.there


def spread_out(sites: Sequence[CandidateNode], spreads: Sequence[Spread], count: int) -> dict[str, int] | None:
    """Placement of the pods: their number by node, those named first being filled first; None if there is none.

    `spreads`: in the order of the values in the sites' paths.
    """
    if not sites:
        return None
    order = sorted(range(len(spreads)), key=lambda level: len({site.path[level] for site in sites}))
    nested = [CandidateNode(site.name, tuple(site.path[i] for i in order), site.room, site.there) for site in sites]
    if _cross(nested):
        return _filled(nested, count)
    tree = _Tree(nested)
    bounds = _Search(tree, [spreads[i].skew for i in order], count).bounds()
    return None if bounds is None else dict(_shares(tree, bounds, (), count))


def _cross(sites: Sequence[CandidateNode]) -> bool:
    """Tell whether a domain lies in two domains of a coarser label."""
    depths = range(1, len(sites[0].path) + 1)
    return any(len({site.path[:d] for site in sites}) > len({site.path[d - 1] for site in sites}) for d in depths)


def _filled(sites: Iterable[CandidateNode], count: int) -> dict[str, int] | None:
    placed: dict[str, int] = {}
    for site in sites:
        if taken := min(site.room, count):
            placed[site.name] = taken
            count -= taken
    return None if count else placed


Bounds = dict[Path, tuple[int, int]]


class _Search:
    """Search for the number of pods in the emptiest domain of each label, the innermost label first.

    All domains of a label lie within its skew, so their average leaves few numbers for the emptiest one; an inner
    label that cannot be spread ends all that would be tried with it.
    """

    def __init__(self, tree: _Tree, skews: Sequence[int], count: int) -> None:
        self._tree = tree
        self._skews = skews
        self._count = count
        self._visits = 0

    def bounds(self) -> Bounds | None:
        """Least and most pods for each domain, and for all under (); None if there are none, or none were found."""
        return self._outward(len(self._skews), {})

    def _outward(self, depth: int, inner: Bounds) -> Bounds | None:
        tree = self._tree
        if not depth:
            low, high = _sum(inner[domain] for domain in tree.children[()])
            return inner | {(): (low, high)} if low <= self._count <= high else None
        domains, skew = tree.levels[depth - 1], self._skews[depth - 1]
        reach = {domain: self._reach(domain, inner) for domain in domains}
        least, most = self._range(reach, skew)
        for fewest in range(most, least - 1, -1):
            self._visits += len(domains)
            if self._visits > MOST_VISITS:
                return None
            found = self._outward(depth - 1, inner | self._within(reach, fewest, skew))
            if found is not None:
                return found
        return None

    def _reach(self, domain: Path, inner: Bounds) -> tuple[int, int]:
        children = self._tree.children.get(domain)
        return _sum(inner[child] for child in children) if children else (0, self._tree.room[domain])

    def _range(self, reach: Bounds, skew: int) -> tuple[int, int]:
        """Range of pods for the emptiest domain: no domain may be beyond its reach, and all together have all pods."""
        there = self._tree.there
        together = self._count + sum(there[domain] for domain in reach)
        least = max(
            -(-together // len(reach)) - skew, *(low + there[domain] - skew for domain, (low, _) in reach.items())
        )
        most = min(together // len(reach), *(high + there[domain] for domain, (_, high) in reach.items()))
        return max(0, least), most

    def _within(self, reach: Bounds, fewest: int, skew: int) -> Bounds:
        there = self._tree.there
        return {
            domain: (max(low, fewest - there[domain]), min(high, fewest + skew - there[domain]))
            for domain, (low, high) in reach.items()
        }


def _sum(bounds: Iterable[tuple[int, int]]) -> tuple[int, int]:
    lows, highs = zip(*bounds, strict=True)
    return sum(lows), sum(highs)


def _shares(tree: _Tree, bounds: Mapping[Path, tuple[int, int]], domain: Path, count: int) -> Iterator[tuple[str, int]]:
    """Give each domain within this one its least, and the rest to the first that may have more."""
    if domain in tree.nodes:
        yield from (_filled(tree.nodes[domain], count) or {}).items()
        return
    children = tree.children[domain]
    spare = count - sum(bounds[child][0] for child in children)
    for child in children:
        low, high = bounds[child]
        more = min(spare, high - low)
        spare -= more
        yield from _shares(tree, bounds, child, low + more)
