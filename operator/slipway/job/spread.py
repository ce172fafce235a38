"""Can the pods of a gang be spread over zones, racks or nodes as its topologySpread demands? Pure; asked by packing.py.

A label divides the nodes into domains; no domain may get more than `skew` pods more than the one with the fewest, which
may be one without room. Of one label every order in which a scheduler binds the pods gets there: it is stuck only when
the emptiest domain is full and all others have `skew` more, and then no placement has more pods.

Exact for one label, and for several whose domains lie within each other (nodes in racks in zones). Of labels that cross
each other nothing is promised: pods that find no place then are shown as Unschedulable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

Path = tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """At most `skew` pods more in one domain of the label `key` than in another."""

    key: str
    skew: int


@dataclass(frozen=True)
class Site:
    """A node as a place in the domains: its labels' values, how many pods it takes, how many of the gang's it has."""

    name: str
    path: Path
    room: int
    there: int = 0


class _Tree:
    """Domains within domains; the coarsest label first. A domain is the path of values that leads to it."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self.room: dict[Path, int] = {}
        self.there: dict[Path, int] = {}
        self.nodes: dict[Path, list[Site]] = {}
        self.levels: list[list[Path]] = [[] for _ in sites[0].path]
        self.children: dict[Path, list[Path]] = {}
        for site in sites:
            for depth in range(len(site.path)):
                self._add(site, site.path[: depth + 1])
            self.nodes.setdefault(site.path, []).append(site)

    def _add(self, site: Site, domain: Path) -> None:
        if domain not in self.room:
            self.levels[len(domain) - 1].append(domain)
            self.children.setdefault(domain[:-1], []).append(domain)
        self.room[domain] = self.room.get(domain, 0) + site.room
        self.there[domain] = self.there.get(domain, 0) + site.there


def spread_out(sites: Sequence[Site], spreads: Sequence[Spread], count: int) -> dict[str, int] | None:
    """How many of the pods go to which node, those named first being filled first; None if they can't be spread so.

    `spreads`: in the order of the values in the sites' paths.
    """
    if not sites:
        return None
    order = sorted(range(len(spreads)), key=lambda level: len({site.path[level] for site in sites}))
    nested = [Site(site.name, tuple(site.path[i] for i in order), site.room, site.there) for site in sites]
    if _cross(nested):
        return _filled(nested, count)
    tree = _Tree(nested)
    skews = [spreads[i].skew for i in order]
    for fewest in _fewest(tree, count):
        bounds = _bounds(tree, fewest, skews)
        if bounds is not None and bounds[()][0] <= count <= bounds[()][1]:
            return dict(_shares(tree, bounds, (), count))
    return None


def _cross(sites: Sequence[Site]) -> bool:
    """Whether a domain lies in two domains of a coarser label."""
    depths = range(1, len(sites[0].path) + 1)
    return any(len({site.path[:d] for site in sites}) > len({site.path[d - 1] for site in sites}) for d in depths)


def _filled(sites: Iterable[Site], count: int) -> dict[str, int] | None:
    placed: dict[str, int] = {}
    for site in sites:
        if taken := min(site.room, count):
            placed[site.name] = taken
            count -= taken
    return None if count else placed


def _fewest(tree: _Tree, count: int) -> Iterator[tuple[int, ...]]:
    """How many pods the emptiest domain of each label may have in the end: at most the average; the most first."""
    tops = []
    for domains in tree.levels:
        average = (count + sum(tree.there[domain] for domain in domains)) // len(domains)
        tops.append(min(average, *(tree.there[domain] + tree.room[domain] for domain in domains)))
    return product(*(range(top, -1, -1) for top in tops))


def _bounds(tree: _Tree, fewest: Sequence[int], skews: Sequence[int]) -> dict[Path, tuple[int, int]] | None:
    """Least and most pods for each domain, and for all under (); None if a domain can't have its least."""
    found: dict[Path, tuple[int, int]] = {}
    for depth in range(len(fewest), -1, -1):
        for domain in tree.levels[depth - 1] if depth else [()]:
            inner = [found[child] for child in tree.children.get(domain, ())]
            low = sum(low for low, _ in inner)
            high = sum(high for _, high in inner) if inner else tree.room[domain]
            if depth:
                least = fewest[depth - 1] - tree.there[domain]
                low, high = max(low, least), min(high, least + skews[depth - 1])
            if low > high:
                return None
            found[domain] = (low, high)
    return found


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
