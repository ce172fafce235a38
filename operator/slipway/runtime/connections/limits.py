"""Admission of connections: which is let in, and which goes for it. Asked by `accept` before each handshake. No I/O.

A peer is an address. What holds whoever floods:

- who opens connections faster than `per_second` is refused, before anything but the connection itself was paid for;
- together they get a share of the event loop's time (`loop_share`). While less than half of what was saved of it is
  left, only peers that seldom come are let in: whoever posts his progress every few seconds does, and a flood does not;
- nobody is refused because all places are taken. A peer that has all of its own loses its oldest connection, and where
  all places are taken, the peer that has most of them loses its oldest. An honest exchange takes milliseconds, so the
  oldest connections are those that wait for something that does not come.

Pods that share an address (hostNetwork, or a node that hides its pods behind its own) share what an address may have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from slipway.runtime.rate import Budget, Rate

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one listener for those who connect. The defaults are the status endpoint's."""

    total: int = 128
    per_peer: int = 16
    # New connections of one peer: one for each post.
    per_second: float = 40.0
    burst: float = 200.0
    # A peer that comes no more often than this goes before those that do.
    seldom_per_second: float = 1.0
    seldom_burst: float = 10.0
    # Of the event loop's time; what is not used is saved for this long.
    loop_share: float = 0.2
    saved_seconds: float = 5.0
    # The same for accepting and refusing; beyond it the kernel's queue is left to overflow for a moment.
    accept_share: float = 0.1
    # A connection's whole life: handshake, head, body, answer.
    seconds: float = 15.0
    # What a connection may send, as it comes over the wire.
    most_bytes: int = 128 * 1024


class Reason(StrEnum):
    """Reason why a connection was refused or ended: the values of a metric's label."""

    PEER_RATE = "peer-rate"
    LOOP_SHARE = "loop-share"
    PEER_CONNECTIONS = "peer-connections"
    ALL_CONNECTIONS = "all-connections"
    SECONDS = "seconds"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Verdict(Generic[C]):
    """`refused` is None for a connection that is let in; `ousted` has to go for it, for the reason `why`."""

    refused: Reason | None = None
    ousted: C | None = None
    why: Reason | None = None


class Table(Generic[C]):
    """The open connections of one listener, by peer."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._often = Rate(limits.per_second, limits.burst, clock=clock)
        self._seldom = Rate(limits.seldom_per_second, limits.seldom_burst, clock=clock)
        self._time = Budget(limits.loop_share, limits.loop_share * limits.saved_seconds, clock=clock)
        # Each peer's connections in order of their age; no peer without one.
        self._peers: dict[str, dict[C, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, peer: str) -> Verdict[C]:
        """Judge a new connection; for one that is let in, `enter` comes next."""
        if self._often.take(peer) > 0:
            return Verdict(Reason.PEER_RATE)
        needed = 0.0 if self._seldom.take(peer) == 0 else self._time.most / 2
        if self._time.level <= needed:
            return Verdict(Reason.LOOP_SHARE)
        full, why = self._full(peer)
        ousted = next(iter(self._peers[full])) if why is not None else None
        if ousted is not None:
            self.leave(full, ousted)
        return Verdict(None, ousted, why)

    def enter(self, peer: str, connection: C) -> None:
        """Count the connection until `leave`."""
        self._peers.setdefault(peer, {})[connection] = None
        self._count += 1

    def leave(self, peer: str, connection: C) -> None:
        """Forget a connection that has ended; does nothing for one that is not there."""
        mine = self._peers.get(peer)
        if mine is None or connection not in mine:
            return
        del mine[connection]
        self._count -= 1
        if not mine:
            del self._peers[peer]

    def spend(self, seconds: float) -> None:
        """Charge seconds of the loop's time that went to a connection."""
        self._time.spend(seconds)

    def _full(self, peer: str) -> tuple[str, Reason | None]:
        """Peer that has to give up a place for a connection of `peer`, and the reason: None while there is room."""
        if len(self._peers.get(peer, ())) >= self._limits.per_peer:
            return peer, Reason.PEER_CONNECTIONS
        if self._count >= self._limits.total:
            # Of several, the one that has its connections for longest.
            return max(self._peers, key=lambda other: len(self._peers[other])), Reason.ALL_CONNECTIONS
        return peer, None
