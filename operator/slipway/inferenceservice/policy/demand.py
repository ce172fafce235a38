"""Demand by the activator's /metrics: who waits, and whether anybody has come since. Pure; for activator_poller.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slipway.runtime.scraping.exposition import samples

HELD = "slipway_activator_held"
IDLE = "slipway_activator_idle_seconds"
LARGEST = 2**31


@dataclass(frozen=True)
class ActivatorReply:
    """Answer of one pod, `at` seconds of the wall clock. `heard`: when a client sent something last; None for never."""

    at: float
    held: int
    heard: float | None


def read_demand(page: bytes, at: float) -> ActivatorReply:
    """Read an activator's /metrics. Raises ValueError for what is not Prometheus' text format, or lacks the figures."""
    figures = {sample.name: sample.value for sample in samples(page, (HELD, IDLE))}
    held, idle = figures.get(HELD, -1.0), figures.get(IDLE, 0.0)
    if not (0 <= held <= LARGEST and idle >= 0):
        raise ValueError(f"no {HELD}, or figures that are none")
    return ActivatorReply(at, int(held), at - idle if IDLE in figures else None)


@dataclass(frozen=True)
class Demand:
    """Demand at all pods of an activator, since a time. `known`: every one of them was asked since."""

    known: bool = False
    held: int = 0
    wanted: bool = False


def demand_since(since: float, told: Mapping[str, ActivatorReply], pods: Iterable[str]) -> Demand:
    """Demand since a time. `since` in seconds of the wall clock; `pods`: UIDs of those that can be asked."""
    there = list(pods)
    known = bool(there) and all(uid in told and told[uid].at > since for uid in there)
    newer = [entry for entry in told.values() if entry.at > since]
    held = sum(entry.held for entry in newer)
    came = any(entry.heard is not None and entry.heard >= since for entry in newer)
    return Demand(known, held, held > 0 or came)
