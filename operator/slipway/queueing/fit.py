"""Fit of equal pods on nodes, worked out once for nodes with equal amounts. Pure; for cluster_capacity.py."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from slipway.queueing.demand import Demand, room
from slipway.queueing.resources import Amounts


class AmountIndex:
    """Numbers for the amounts that nodes have: most nodes of a cluster have one of few."""

    def __init__(self) -> None:
        self._numbers: dict[frozenset[tuple[str, int]], int] = {}
        self._amounts: list[Amounts] = []

    def __len__(self) -> int:
        return len(self._amounts)

    def of(self, amounts: Amounts) -> int:
        """The number of these amounts."""
        number = self._numbers.setdefault(frozenset(amounts.items()), len(self._amounts))
        if number == len(self._amounts):
            self._amounts.append(dict(amounts))
        return number

    def amounts(self, number: int) -> Amounts:
        """The amounts of this number."""
        return self._amounts[number]


@dataclass
class EligibleNodes:
    """Nodes that pods with such a `demand` may go to; how many of them have which amounts now and at most, or None
    where that is to be counted anew.
    """

    demand: Demand
    able: dict[str, None]
    amounts: tuple[Counter[int], Counter[int]] | None = None


class Fit:
    """Number of pods that fit, all together now and at most, and by node where somebody asks."""

    def __init__(
        self,
        numbers: AmountIndex,
        where: EligibleNodes,
        demand: Demand,
        has: Mapping[str, int],
        most: Mapping[str, int],
    ) -> None:
        """Count the pods that fit. `has`, `most`: by node the number of its amounts now, and at most; they change."""
        self.where = where
        self._numbers, self._each, self._apart = numbers, demand.each, demand.apart
        self._has, self._most = has, most
        self._known: dict[int, int] = {}
        self._rooms: dict[str, int] | None = None
        self._most_rooms: dict[str, int] | None = None
        now, at_most = where.amounts or (Counter[int](), Counter[int]())
        self.total = sum(count * self.into(number) for number, count in now.items())
        self.most_total = sum(count * self.into(number) for number, count in at_most.items())

    def into(self, number: int) -> int:
        """Number of pods that go into the amounts of this number."""
        if number not in self._known:
            self._known[number] = room(self._numbers.amounts(number), self._each, apart=self._apart)
        return self._known[number]

    @property
    def rooms(self) -> dict[str, int]:
        """Number of pods that fit now, by node, where not 0."""
        if self._rooms is None:
            self._rooms = {name: count for name, count in self._by_node(self._has) if count > 0}
        return self._rooms

    @property
    def most(self) -> dict[str, int]:
        """Number of pods that fit when all gangs have ended, by node."""
        if self._most_rooms is None:
            self._most_rooms = dict(self._by_node(self._most))
        return self._most_rooms

    def _by_node(self, numbers: Mapping[str, int]) -> Iterable[tuple[str, int]]:
        known, into = self._known, self.into
        for name in self.where.able:
            number = numbers[name]
            yield name, known[number] if number in known else into(number)

    def changed(self, name: str, before: int, number: int) -> None:
        """Count a node anew that has other amounts now."""
        now = self.into(number)
        self.total += now - self.into(before)
        if self._rooms is not None:
            self._rooms.pop(name, None)
            if now > 0:
                self._rooms[name] = now

    def count(self, has: int, most: int, sign: int) -> None:
        """Add a node with these amounts (1), or remove it (-1)."""
        self.total += sign * self.into(has)
        self.most_total += sign * self.into(most)
        self._rooms = self._most_rooms = None

    def on(
        self, has: Mapping[str, int], most: Mapping[str, int], touched: Iterable[str], before: Mapping[str, int]
    ) -> Self:
        """Copy for a copy of the capacity that has other amounts on the nodes that it `touched`."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._has, other._most, other._rooms = has, most, None
        for name in touched:
            if name in self.where.able:
                other.total += self.into(has[name]) - self.into(before[name])
        return other
