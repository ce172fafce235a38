"""Preemption: the gangs that give way to one of higher priority. Whole ones, as few and as low as can be. Pure.

Kubernetes' scheduler takes single pods out of a gang, which ends all of it and frees what the rest holds to no purpose.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand
from slipway.queueing.resources import Amounts

# Searches in one decision: each goes through all nodes.
MOST_TRIES = 4

Held = Mapping[str, Amounts]
"""By node: what pods have of it."""


@dataclass(frozen=True)
class Running:
    """A gang that may have to give way. `since`: when its attempt began, as the API writes times."""

    key: Hashable
    priority: int
    since: str
    held: Held


@dataclass(frozen=True)
class RunningGangs:
    """Gangs that run, and what pods hold that are on their way out."""

    running: Sequence[Running] = ()
    leaving: Held | None = None


class Preemptions:
    """One decision's preemptions. One gang at a time: what its victims free must not be promised twice."""

    def __init__(self, contenders: Callable[[], RunningGangs] = RunningGangs) -> None:
        """Begin a decision. `contenders` is asked at most once, and only if somebody may preempt."""
        self._ask = contenders
        self._contenders: RunningGangs | None = None
        self._tries = 0
        self._settled = False
        self.victims: dict[Hashable, str] = {}

    def settle(self, capacity: ClusterCapacity, demand: Demand, priority: int, name: str) -> str | None:
        """Keep room for this gang where others give way, or are going already; says who, None if that does not help."""
        if self._settled or self._tries >= MOST_TRIES:
            return None
        self._tries += 1
        self._contenders = self._contenders or self._ask()
        future = capacity.copy()
        future.give_back(self._contenders.leaving or {})
        chosen = _chosen(future, demand, [r for r in self._contenders.running if r.priority < priority])
        placed = future.pack(demand) if chosen is not None else None
        if chosen is None or placed is None:
            return None
        capacity.take(placed, demand.each)
        self._settled = True
        self.victims = {gang.key: name for gang in chosen}
        whose = ", ".join(sorted("/".join(k) if isinstance(k := gang.key, tuple) else str(k) for gang in chosen)[:4])
        more = f" and {len(chosen) - 4} more" if len(chosen) > 4 else ""
        return f"{whose}{more} of lower priority give way" if chosen else "pods that are going make room"


def _chosen(future: ClusterCapacity, demand: Demand, lower: list[Running]) -> list[Running] | None:
    """Choose victims: the lowest first, and of equals the newest, which loses least. `future` is left without them."""
    able = future.fit(demand).where.able.keys()
    useful = [gang for gang in lower if not able.isdisjoint(gang.held)]
    order = sorted(sorted(useful, key=lambda gang: gang.since, reverse=True), key=lambda gang: gang.priority)
    chosen: list[Running] = []
    for gang in order:
        if future.pack(demand) is not None:
            break
        future.give_back(gang.held)
        chosen.append(gang)
    if future.pack(demand) is None:
        return None
    for gang in reversed(chosen[:]):
        future.take_away(gang.held)
        if future.pack(demand) is not None:
            chosen.remove(gang)
        else:
            future.give_back(gang.held)
    return chosen
