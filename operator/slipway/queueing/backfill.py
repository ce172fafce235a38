"""Choice of the waiting gangs that start: by rank; smaller ones fill gaps, but never at a large one's expense. Pure.

This is EASY backfilling (Lifka 1995) without run times, which nobody knows: the first gang that does not fit gets room
kept on nodes where it will fit once others have ended. Whoever comes after it gets only what is left beside that room,
so the kept room can only grow: no gang waits for ever, as long as gangs end.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.queueing.amounts import shown
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand
from slipway.queueing.preemption import Preemptions
from slipway.queueing.quota import PodCharge, Quotas, Shortage

# At all nodes in one decision, for one namespace (Slurm bounds its backfilling by user in the same way): some
# milliseconds each. Whoever lets more kinds of gangs wait than that has only the first of them looked at.
MOST_LOOKS = 16


@dataclass(frozen=True)
class PendingGang:
    """A gang that has not started. `rank`: the smallest goes first; comparable with every other's.

    `grows`: whether its pods may be created without room, for an autoscaler to see. `preempts`:
    whether running gangs of a lower `priority` give way to it.
    """

    key: Hashable
    rank: tuple[Any, ...]
    demand: Demand
    charge: PodCharge = field(default_factory=PodCharge)
    grows: bool = False
    preempts: bool = False
    priority: int = 0


@dataclass(frozen=True)
class QueuePosition:
    """A gang's place in the line: 1 is the next to start. `missing`: what the cluster lacks, in words.

    `short`: it is a quota of the namespace, and if it `never` can be enough, somebody must change something.
    """

    position: int
    length: int
    missing: str
    short: bool = False
    never: bool = False


@dataclass(frozen=True)
class Decision:
    """Gangs that start now, in order; the places of all others; and which running gangs give way to whom."""

    admitted: tuple[Hashable, ...]
    waiting: dict[Hashable, QueuePosition]
    victims: Mapping[Hashable, str] = field(default_factory=dict)


def decide(
    capacity: ClusterCapacity,
    gangs: Iterable[PendingGang],
    quotas: Quotas | None = None,
    growing: set[str] | None = None,
    contest: Preemptions | None = None,
) -> Decision:
    """Go through the line once. `capacity`, `quotas`: less what is promised to gangs that were let in; used up.

    `growing`: namespaces with a gang that waits for new nodes already: of two that begin, neither may end up whole.
    """
    one = _Pass(capacity, quotas or Quotas(), growing if growing is not None else set(), contest or Preemptions())
    for gang in sorted(gangs, key=lambda gang: gang.rank):
        one.look(gang)
    return one.decision()


class _Pass:
    """One walk along the line, and what it has used up and kept so far."""

    def __init__(self, capacity: ClusterCapacity, quotas: Quotas, growing: set[str], contest: Preemptions) -> None:
        self._floor, self._quotas, self._growing, self._contest = capacity, quotas, growing, contest
        self._admitted: list[Hashable] = []
        self._waiting: dict[Hashable, str] = {}
        self._shortages: dict[Hashable, Shortage] = {}
        self._kept_for = ""
        self._looks: Counter[Hashable] = Counter()
        self._words = _Missing(capacity)

    def look(self, gang: PendingGang) -> None:
        """Let the gang start, or note why it waits."""
        whose = gang.key[0] if isinstance(gang.key, tuple) else ""
        name = "/".join(gang.key) if isinstance(gang.key, tuple) else str(gang.key)
        if self._held_by_quota(gang, whose, name):
            return
        # Gangs of equal pods share a look at all nodes, unless they must be spread.
        self._looks[whose] += bool(gang.demand.spreads) or not self._floor.knows(gang.demand)
        if self._looks[whose] > MOST_LOOKS:
            self._waiting[gang.key] = f"{MOST_LOOKS} other kinds of gangs of its namespace are looked at before it"
            return
        placed = self._floor.pack(gang.demand)
        if placed is None and gang.preempts and self._preempts(gang, whose, name):
            return
        if placed is None and gang.grows and whose not in self._growing:
            self._growing.add(whose)
            placed = self._floor.pack(gang.demand, partly=True) or {}
        if placed is None:
            self._keep_room(gang, whose, name)
            return
        self._floor.take(placed, gang.demand.each)
        self._quotas.take(whose, gang.charge, gang.demand.count)
        self._admitted.append(gang.key)

    def _held_by_quota(self, gang: PendingGang, whose: str, name: str) -> bool:
        """Tell whether a quota holds the gang back, and note it. No room is kept on nodes for such a gang."""
        shortage = self._quotas.short(whose, gang.charge, gang.demand.count)
        if shortage is None:
            return False
        self._shortages[gang.key], self._waiting[gang.key] = shortage, shortage.words
        if not shortage.never:
            self._quotas.keep(whose, gang.charge, gang.demand.count, name)
        return True

    def _preempts(self, gang: PendingGang, whose: str, name: str) -> bool:
        missing = self._words.of(gang.demand, self._kept_for)
        who = self._contest.settle(self._floor, gang.demand, gang.priority, name)
        if who is None:
            return False
        self._quotas.keep(whose, gang.charge, gang.demand.count, name)
        self._waiting[gang.key] = f"{missing}; {who}"
        return True

    def _keep_room(self, gang: PendingGang, whose: str, name: str) -> None:
        """Keep room on nodes and in the quota for the first gang that does not fit; the others wait behind it."""
        self._waiting[gang.key] = self._words.of(gang.demand, self._kept_for)
        kept = self._floor.keep(gang.demand) if not self._kept_for else None
        if kept is not None:
            self._floor.take(kept, gang.demand.each)
            self._quotas.keep(whose, gang.charge, gang.demand.count, name)
            self._kept_for = name

    def decision(self) -> Decision:
        """Result of the walk."""
        short = self._shortages
        places = {
            key: QueuePosition(number, len(self._waiting), told, key in short, key in short and short[key].never)
            for number, (key, told) in enumerate(self._waiting.items(), start=1)
        }
        return Decision(tuple(self._admitted), places, self._contest.victims)


class _Missing:
    """Descriptions of what gangs lack, in words that gangs of equal shape share until a node changes."""

    def __init__(self, capacity: ClusterCapacity) -> None:
        self._floor, self._version = capacity, capacity.version
        self._known: dict[tuple[str, int, str, str], str] = {}

    def of(self, demand: Demand, kept_for: str) -> str:
        """Description of what this gang lacks; `kept_for`: who has room kept before it."""
        if self._version != self._floor.version:
            self._known, self._version = {}, self._floor.version
        alike = (demand.kind, demand.count, repr(demand.spreads) if demand.spreads else "", kept_for)
        if alike not in self._known:
            self._known[alike] = _missing(self._floor, demand, kept_for)
        return self._known[alike]


def _missing(capacity: ClusterCapacity, demand: Demand, kept_for: str) -> str:
    asked = ", ".join(f"{shown(name, amount)} {name}" for name, amount in sorted(demand.each.items()) if amount)
    each = (f" that each ask for {asked}" if asked else "") + (", one on each node" if demand.apart else "")
    fit = capacity.fit(demand)
    words = f"room for {fit.total} of {demand.count} pods{each}"
    if not fit.where.able:
        labels = "".join(f" and has label {spread.key}" for spread in demand.spreads)
        return f"{words}: no ready node passes nodeSelector, affinity and tolerations{labels}"
    if lopsided := capacity.lopsided(demand) if fit.total >= demand.count else "":
        words += f", but {lopsided}"
    if fit.most_total < demand.count or (demand.spreads and capacity.keep(demand) is None):
        return f"{words}: too many even for the nodes' whole capacity"
    return f"{words}, beside what is kept for {kept_for}, which is before it" if kept_for else words
