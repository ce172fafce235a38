"""Who is next? A line in which clients take turns by what their work has cost. Pure: no clock, no I/O.

Each client's share grows with what it is charged, and whoever has the smallest share is next (start-time fair queueing,
Goyal, Vin and Cheng 1996). Whoever comes anew begins where the line is, so nobody saves up. First among addresses, then
among the connections of one: opening more connections gives no larger share of the whole.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

J = TypeVar("J")
Client = tuple[str, Hashable]


class _Share:
    """What one client has been charged, and whether something of it waits."""

    __slots__ = ("spent", "waiting")

    def __init__(self, spent: float) -> None:
        self.spent = spent
        self.waiting = 0


class FairLine(Generic[J]):
    """Jobs of clients. A client that has nothing in line and under way is forgotten."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Client, deque[J]] = OrderedDict()
        self._shares: dict[Hashable, _Share] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._jobs.values())

    def add(self, client: Client, job: J) -> None:
        """To the end of the client's own line."""
        for key in (client[0], client):
            share = self._shares.setdefault(key, _Share(self._now))
            if not share.waiting:
                share.spent = max(share.spent, self._now)
            share.waiting += 1
        self._jobs.setdefault(client, deque()).append(job)

    def take(self) -> tuple[Client, J]:
        """The next one. `done` must follow."""
        client = min(self._jobs, key=lambda one: (self._shares[one[0]].spent, self._shares[one].spent))
        self._now = self._shares[client[0]].spent
        jobs = self._jobs[client]
        job = jobs.popleft()
        if jobs:
            self._jobs.move_to_end(client)
        else:
            del self._jobs[client]
        return client, job

    def done(self, client: Client, cost: float) -> None:
        """A job that was taken has cost so much, in seconds."""
        for key in (client[0], client):
            share = self._shares[key]
            share.spent += cost
            share.waiting -= 1
            if not share.waiting and share.spent <= self._now:
                del self._shares[key]
        if not self._jobs:
            self._settle()

    def _settle(self) -> None:
        """Nothing waits: shares that nobody uses are of the past."""
        for key in [key for key, share in self._shares.items() if not share.waiting]:
            del self._shares[key]
