"""Queue of waiting requests, grouped by shape, ordered by priority without starvation. No clock, no I/O.

A ticket of level k (1 is the most urgent) is due `(k - 1) * step` seconds after its arrival, and the earliest due is
served first. So a more urgent ticket overtakes, but only those that came less than a step per level before it: nobody
waits for ever.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from workloads.serve.batcher.ticket import Ticket

T = TypeVar("T")
R = TypeVar("R")


def _order(ticket: Ticket[T, R]) -> tuple[float, int]:
    return ticket.due, ticket.number


class _Group(Generic[T, R]):
    """Tickets that may share a batch: first come, first served within a level."""

    __slots__ = ("levels",)

    def __init__(self, levels: int) -> None:
        self.levels: list[OrderedDict[int, Ticket[T, R]]] = [OrderedDict() for _ in range(levels)]

    def head(self) -> Ticket[T, R] | None:
        """The ticket that is due first."""
        best: Ticket[T, R] | None = None
        for level in self.levels:
            if level:
                first = next(iter(level.values()))
                if best is None or _order(first) < _order(best):
                    best = first
        return best


class RequestQueue(Generic[T, R]):
    """Tickets that wait. There are at most as many groups as tickets, and choosing one looks at each group's head."""

    def __init__(self, levels: int, step: float) -> None:
        self._levels = levels
        self._step = step
        self._groups: dict[Hashable, _Group[T, R]] = {}
        self.rows = 0
        self.size = 0
        self.tickets = 0

    def __iter__(self) -> Iterator[Ticket[T, R]]:
        return (ticket for group in self._groups.values() for level in group.levels for ticket in level.values())

    def add(self, ticket: Ticket[T, R]) -> None:
        """Put a ticket at the end of its level."""
        ticket.due = ticket.arrived + (ticket.level - 1) * self._step
        group = self._groups.get(ticket.group)
        if group is None:
            group = self._groups[ticket.group] = _Group(self._levels)
        group.levels[ticket.level - 1][ticket.number] = ticket
        ticket.waiting = True
        self.rows += ticket.rows
        self.size += ticket.size
        self.tickets += 1

    def remove(self, ticket: Ticket[T, R]) -> None:
        """Take a ticket out of the line, wherever it stands. Only for a ticket that waits."""
        group = self._groups[ticket.group]
        del group.levels[ticket.level - 1][ticket.number]
        if not any(group.levels):
            del self._groups[ticket.group]
        ticket.waiting = False
        self.rows -= ticket.rows
        self.size -= ticket.size
        self.tickets -= 1

    def head(self) -> Ticket[T, R] | None:
        """The ticket that is due first, of all groups."""
        heads = [head for group in self._groups.values() if (head := group.head()) is not None]
        return min(heads, key=_order, default=None)

    def take(self, most_rows: int) -> list[Ticket[T, R]]:
        """The next batch: the head and those after it in its group while they fit; nobody jumps over one that does not.

        A head of more rows than `most_rows` comes alone: the owner has checked it against the real limit.
        """
        first = self.head()
        if first is None:
            return []
        group = self._groups[first.group]
        batch = [first]
        rows = first.rows
        self.remove(first)
        while (ticket := group.head()) is not None and rows + ticket.rows <= most_rows:
            self.remove(ticket)
            batch.append(ticket)
            rows += ticket.rows
        return batch
