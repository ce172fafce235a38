"""Which of the waiting gangs start now? By rank; smaller ones fill gaps, but never at a large one's expense. Pure.

This is EASY backfilling (Lifka 1995) without run times, which nobody knows: the first gang that does not fit gets room
kept on nodes where it will fit once others have ended. Whoever comes after it gets only what is left beside that room,
so the kept room can only grow: no gang waits for ever, as long as gangs end.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.job.packing import Demand, Node, less, pack, room, rooms, takes


@dataclass(frozen=True)
class Waiting:
    """A gang that has not started. `rank`: the smallest goes first; comparable with every other's."""

    key: Hashable
    rank: tuple[Any, ...]
    demand: Demand


@dataclass(frozen=True)
class Place:
    """A gang's place in the line: 1 is the next to start. `missing`: what the cluster lacks, in words."""

    position: int
    length: int
    missing: str


@dataclass(frozen=True)
class Decision:
    """Who starts now, in order, and the place of everybody else."""

    admitted: tuple[Hashable, ...]
    waiting: dict[Hashable, Place]


def decide(nodes: Sequence[Node], gangs: Iterable[Waiting]) -> Decision:
    """Go through the line once. `nodes`: without what is promised to gangs that were let in before."""
    left = list(nodes)
    admitted: list[Hashable] = []
    waiting: dict[Hashable, str] = {}
    kept_for = ""
    for gang in sorted(gangs, key=lambda gang: gang.rank):
        placed = pack(left, gang.demand)
        if placed is not None:
            left = less(left, placed, gang.demand.each)
            admitted.append(gang.key)
            continue
        waiting[gang.key] = _missing(nodes, left, gang.demand, kept_for)
        kept = _kept(left, gang.demand) if not kept_for else None
        if kept is not None:
            left = less(left, kept, gang.demand.each)
            kept_for = "/".join(gang.key) if isinstance(gang.key, tuple) else str(gang.key)
    places = {key: Place(number, len(waiting), words) for number, (key, words) in enumerate(waiting.items(), start=1)}
    return Decision(tuple(admitted), places)


def _kept(nodes: Sequence[Node], demand: Demand) -> dict[str, int] | None:
    """Nodes to keep for the gang: first those with the most room now. None if it can never fit."""
    most = {node.name: room(node.capacity, demand.each) for node in nodes if takes(node, demand)}
    if sum(most.values()) < demand.count:
        return None
    now = rooms(nodes, demand)
    kept: dict[str, int] = {}
    left = demand.count
    for name in sorted(most, key=lambda name: (-now.get(name, 0), -most[name], name)):
        if left > 0 and most[name] > 0:
            kept[name] = min(left, most[name])
            left -= kept[name]
    return kept


def _missing(nodes: Sequence[Node], left: Sequence[Node], demand: Demand, kept_for: str) -> str:
    asked = ", ".join(f"{shown(name, amount)} {name}" for name, amount in sorted(demand.each.items()) if amount)
    each = f" that each ask for {asked}" if asked else ""
    fit = sum(rooms(left, demand).values())
    words = f"room for {fit} of {demand.count} pods{each}"
    if not any(takes(node, demand) for node in nodes):
        return f"{words}: no ready node passes nodeSelector, affinity and tolerations"
    if sum(room(node.capacity, demand.each) for node in nodes if takes(node, demand)) < demand.count:
        return f"{words}: too many even for the nodes' whole capacity"
    if sum(rooms(nodes, demand).values()) >= demand.count and kept_for:
        return f"{words}: the rest is kept for {kept_for}, which is before it"
    return words


def shown(name: str, amount: int) -> str:
    """An amount as people write it: 1500 thousandths of CPUs are 1.5, bytes become Gi or Mi."""
    if name == "cpu":
        return f"{amount / 1000:g}"
    if "/" not in name and amount >= 2**20:
        return f"{amount / 2**30:.3g}Gi" if amount >= 2**30 else f"{amount / 2**20:.3g}Mi"
    return str(amount)
