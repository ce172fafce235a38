"""Limits on slow clients: which one is too slow, and whose bytes make room when there are too many.

Pure; asked by server.py and connection.py. What counts is what has come since the last look, not the average over the
connection's age: whoever sends 60 MB at once and then stops would have earned hours of patience.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


class Progress:
    """Progress of one body that comes, or one reply that goes. Times in seconds, on the clock of whoever calls."""

    __slots__ = ("_at", "_bytes", "_last", "quiet")

    def __init__(self) -> None:
        self._at = -1.0
        self._bytes = self._last = 0
        self.quiet = 0  # looks without a single byte more

    def stalled(self, moved: int, now: float, patience: float, slowest: float) -> bool:
        """A look: `moved` bytes so far. True after `patience` with less than `slowest` bytes per second."""
        self.quiet = self.quiet + 1 if moved == self._last else 0
        self._last = moved
        if self._at < 0 or moved - self._bytes >= slowest * patience:
            self._at, self._bytes = now, moved
            return False
        return now - self._at > patience

    def wait(self, now: float) -> None:
        """Nothing could move: the time does not count."""
        self._at = now if self._at >= 0 else self._at


@dataclass(frozen=True)
class MemoryHolder:
    """A connection that has bytes in memory. `idle`: looks at it in a row without progress; 0 while it moves.

    `loose`: it can be given up; what an engine may be computing cannot.
    """

    number: int
    peer: str
    bytes: int
    idle: int
    loose: bool


# Looks without a byte after which a connection makes room for another one of the same client.
IDLE_LOOKS = 2


def whose_turn(holders: Sequence[MemoryHolder], asking: MemoryHolder) -> MemoryHolder | None:
    """Whom to give up, so that `asking` goes on; None: `asking` itself must go.

    The client that holds most gives way, by its connection that has moved least; so nobody can keep the others out.
    All may come from one address, through a proxy: there, whoever does not move gives way to whoever does.
    """
    totals: Counter[str] = Counter()
    for holder in holders:
        totals[holder.peer] += holder.bytes
    loose = [holder for holder in holders if holder.loose and holder.number != asking.number and holder.bytes]
    fuller = [holder for holder in loose if totals[holder.peer] > totals[asking.peer]]
    same = [holder for holder in loose if holder.peer == asking.peer and holder.idle >= IDLE_LOOKS]
    if fuller:
        return max(fuller, key=lambda holder: (totals[holder.peer], holder.idle, holder.bytes))
    return max(same, key=lambda holder: (holder.idle, holder.bytes), default=None)
