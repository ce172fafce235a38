"""Which of the waiting gangs start now? By rank; smaller ones fill gaps, but never at a large one's expense. Pure.

This is EASY backfilling (Lifka 1995) without run times, which nobody knows: the first gang that does not fit gets room
kept on nodes where it will fit once others have ended. Whoever comes after it gets only what is left beside that room,
so the kept room can only grow: no gang waits for ever, as long as gangs end.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.queueing.amounts import shown
from slipway.queueing.cluster_capacity import Floor
from slipway.queueing.demand import Demand
from slipway.queueing.preemption import Contest
from slipway.queueing.quota import Bill, Quotas, Shortage

# At all nodes in one decision, for one namespace (Slurm bounds its backfilling by user in the same way): some
# milliseconds each. Whoever lets more kinds of gangs wait than that has only the first of them looked at.
MOST_LOOKS = 16


@dataclass(frozen=True)
class Waiting:
    """A gang that has not started. `rank`: the smallest goes first; comparable with every other's.

    `grows`: whether its pods may be created without room, for an autoscaler to see. `preempts`:
    whether running gangs of a lower `priority` give way to it.
    """

    key: Hashable
    rank: tuple[Any, ...]
    demand: Demand
    bill: Bill = field(default_factory=Bill)
    grows: bool = False
    preempts: bool = False
    priority: int = 0


@dataclass(frozen=True)
class Place:
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
    """Who starts now, in order, the place of everybody else, and which running gangs give way to whom."""

    admitted: tuple[Hashable, ...]
    waiting: dict[Hashable, Place]
    victims: Mapping[Hashable, str] = field(default_factory=dict)


def decide(
    floor: Floor,
    gangs: Iterable[Waiting],
    quotas: Quotas | None = None,
    growing: set[str] | None = None,
    contest: Contest | None = None,
) -> Decision:
    """Go through the line once. `floor`, `quotas`: less what is promised to gangs that were let in; used up.

    `growing`: namespaces with a gang that waits for new nodes already: of two that begin, neither may end up whole.
    """
    quotas, growing = quotas or Quotas(), growing if growing is not None else set()
    contest = contest or Contest()
    admitted: list[Hashable] = []
    waiting: dict[Hashable, str] = {}
    shortages: dict[Hashable, Shortage] = {}
    kept_for = ""
    looks: Counter[Hashable] = Counter()
    words = _Missing(floor)
    for gang in sorted(gangs, key=lambda gang: gang.rank):
        whose = gang.key[0] if isinstance(gang.key, tuple) else ""
        name = "/".join(gang.key) if isinstance(gang.key, tuple) else str(gang.key)
        shortage = quotas.short(whose, gang.bill, gang.demand.count)
        if shortage is not None:
            # No room is kept on nodes for what a quota holds back.
            shortages[gang.key], waiting[gang.key] = shortage, shortage.words
            if not shortage.never:
                quotas.keep(whose, gang.bill, gang.demand.count, name)
            continue
        # Gangs of equal pods share a look at all nodes, unless they must be spread.
        looks[whose] += bool(gang.demand.spreads) or not floor.knows(gang.demand)
        if looks[whose] > MOST_LOOKS:
            waiting[gang.key] = f"{MOST_LOOKS} other kinds of gangs of its namespace are looked at before it"
            continue
        placed = floor.pack(gang.demand)
        if placed is None and gang.preempts:
            missing = words.of(gang.demand, kept_for)
            who = contest.settle(floor, gang.demand, gang.priority, name)
            if who is not None:
                quotas.keep(whose, gang.bill, gang.demand.count, name)
                waiting[gang.key] = f"{missing}; {who}"
                continue
        if placed is None and gang.grows and whose not in growing:
            growing.add(whose)
            placed = floor.pack(gang.demand, partly=True) or {}
        if placed is not None:
            floor.take(placed, gang.demand.each)
            quotas.take(whose, gang.bill, gang.demand.count)
            admitted.append(gang.key)
            continue
        waiting[gang.key] = words.of(gang.demand, kept_for)
        kept = floor.keep(gang.demand) if not kept_for else None
        if kept is not None:
            floor.take(kept, gang.demand.each)
            quotas.keep(whose, gang.bill, gang.demand.count, name)
            kept_for = name
    places = {
        key: Place(number, len(waiting), told, key in shortages, key in shortages and shortages[key].never)
        for number, (key, told) in enumerate(waiting.items(), start=1)
    }
    return Decision(tuple(admitted), places, contest.victims)


class _Missing:
    """What gangs lack, in words that gangs of equal shape share until a node changes."""

    def __init__(self, floor: Floor) -> None:
        self._floor, self._version = floor, floor.version
        self._known: dict[tuple[str, int, str, str], str] = {}

    def of(self, demand: Demand, kept_for: str) -> str:
        """Of this gang; `kept_for`: who has room kept before it."""
        if self._version != self._floor.version:
            self._known, self._version = {}, self._floor.version
        alike = (demand.kind, demand.count, repr(demand.spreads) if demand.spreads else "", kept_for)
        if alike not in self._known:
            self._known[alike] = _missing(self._floor, demand, kept_for)
        return self._known[alike]


def _missing(floor: Floor, demand: Demand, kept_for: str) -> str:
    asked = ", ".join(f"{shown(name, amount)} {name}" for name, amount in sorted(demand.each.items()) if amount)
    each = (f" that each ask for {asked}" if asked else "") + (", one on each node" if demand.apart else "")
    fit = floor.fit(demand)
    words = f"room for {fit.total} of {demand.count} pods{each}"
    if not fit.where.able:
        labels = "".join(f" and has label {spread.key}" for spread in demand.spreads)
        return f"{words}: no ready node passes nodeSelector, affinity and tolerations{labels}"
    if lopsided := floor.lopsided(demand) if fit.total >= demand.count else "":
        words += f", but {lopsided}"
    if fit.most_total < demand.count or (demand.spreads and floor.keep(demand) is None):
        return f"{words}: too many even for the nodes' whole capacity"
    return f"{words}, beside what is kept for {kept_for}, which is before it" if kept_for else words
