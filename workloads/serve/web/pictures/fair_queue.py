"""Fair queue, in which clients take turns by what their work has cost. Pure: no clock, no I/O.

Each client's share grows with what it is charged, and whoever would have the smallest after its next job is next (fair
queueing by virtual finish, Demers, Keshav and Shenker 1989; a job costs about what the client's last one did). Whoever
comes anew begins where the line is, so nobody saves up. First among addresses, then
among the connections of one: opening more connections gives no larger share of the whole.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

J = TypeVar("J")
Client = tuple[str, Hashable]


class _Turns:
    """Turns of the clients of one level. Each has been charged something; a newcomer starts at `now`."""

    def __init__(self) -> None:
        self._spent: dict[Hashable, float] = {}
        self._last: dict[Hashable, float] = {}
        self._waiting: dict[Hashable, int] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._spent)

    def add(self, key: Hashable) -> None:
        """A job of this one."""
        if not self._waiting.get(key):
            self._spent[key] = max(self._spent.get(key, 0.0), self._now)
        self._waiting[key] = self._waiting.get(key, 0) + 1

    def first(self, keys: Iterable[Hashable]) -> Hashable:
        """The first of those that have a job in line."""
        # Whoever would have been charged least when the next job is done, if that costs what the last one did.
        key = min(keys, key=lambda one: self._spent[one] + self._last.get(one, 0.0))
        self._now = max(self._now, self._spent[key])
        return key

    def done(self, key: Hashable, cost: float) -> None:
        """A job has cost so much. What somebody owes is remembered until the others have come so far."""
        self._spent[key] += cost
        self._last[key] = cost
        self._waiting[key] -= 1
        if not any(self._waiting.values()):
            self._spent.clear()
            self._waiting.clear()
            self._last.clear()
            self._now = 0.0
            return
        for one in [one for one, count in self._waiting.items() if not count and self._spent[one] <= self._now]:
            del self._spent[one], self._waiting[one], self._last[one]


class FairQueue(Generic[J]):
    """Jobs of clients. A client that has nothing in line and under way, and owes nothing, is forgotten."""

    def __init__(self) -> None:
        self._jobs: dict[str, OrderedDict[Client, deque[J]]] = {}
        self._peers = _Turns()
        self._clients: dict[str, _Turns] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, client: Client, job: J) -> None:
        """Put a job at the end of the client's own line."""
        self._peers.add(client[0])
        self._clients.setdefault(client[0], _Turns()).add(client)
        self._jobs.setdefault(client[0], OrderedDict()).setdefault(client, deque()).append(job)
        self._length += 1

    def take(self) -> tuple[Client, J]:
        """The next one. `done` must follow."""
        peer = str(self._peers.first(self._jobs))
        clients = self._jobs[peer]
        client: Client = self._clients[peer].first(clients)  # type: ignore[assignment]
        job = clients[client].popleft()
        if clients[client]:
            clients.move_to_end(client)
        else:
            del clients[client]
        if not clients:
            del self._jobs[peer]
        self._length -= 1
        return client, job

    def done(self, client: Client, cost: float) -> None:
        """A job that was taken has cost so much, in seconds."""
        self._peers.done(client[0], cost)
        self._clients[client[0]].done(client, cost)
        if not len(self._clients[client[0]]):
            del self._clients[client[0]]
