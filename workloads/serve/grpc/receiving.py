"""Memory of the gRPC messages that come: all together take so much and no more, and whoever stalls makes way.

Small ones are counted as they come. A large one says its size first, and its client sends the rest when there is room
for it: few come at a time, those of the client that has least first. Whoever sends nothing is cut off; where others
wait, whoever has stood there longest, of the client that has most, makes way for them.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from workloads.serve.errors import QueueFull, RequestError, TooSlow
from workloads.serve.http.pace import Progress

# Bytes of a message that comes without asking: what every stream's window lets come anyway.
SMALL = 60 << 10
# A large message is there as it came, and in one piece while it is read.
COPIES = 2
# Of the memory for requests: the others are HTTP's.
SHARE = 0.5
# Seconds after which one may have to make way, in which something must come, and for a message to begin.
TURN = 2.0
STALLED = 5.0
PATIENCE = 30.0
SLOWEST = 1024.0  # bytes a second
MOST_WAITING = 256


class Memory(Protocol):
    """Memory of all requests together."""

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when there is no room for them."""

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""


class GrpcMemory:
    """Memory of the gRPC server alone, where there is no HTTP server to share it with."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when there is no room for them."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""
        self._left += size


class Sender(Protocol):
    """A call whose message comes."""

    client: str

    @property
    def came(self) -> int:
        """Bytes so far."""

    def admitted(self) -> None:
        """There is room for all of its message."""

    def give_up(self, error: RequestError) -> None:
        """End the call with an error; nothing more of its message is read."""


class AwaitedMessage:
    """A large message that comes: `cost` in bytes, `taken` once there is room for it."""

    __slots__ = ("cost", "progress", "sender", "since", "taken", "whole")

    def __init__(self, sender: Sender, cost: int, since: float) -> None:
        self.sender, self.cost, self.since = sender, cost, since
        self.taken = self.whole = False
        self.progress = Progress()


class Receiving:
    """One per server; called on the event loop."""

    def __init__(self, memory: Memory, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`most` bytes of memory for requests."""
        self.memory = memory
        self.now = clock
        self._room = int(most * SHARE)
        self._most = most
        # Kept for small ones: no more large ones are let in than leave so much.
        self._kept = most // 8
        self._large = 0
        self._coming: dict[AwaitedMessage, None] = {}
        self._waiting: dict[AwaitedMessage, None] = {}

    def begin(self, sender: Sender, size: int) -> AwaitedMessage:
        """A large message begins; its sender hears when there is room. Raises QueueFull."""
        if len(self._waiting) >= MOST_WAITING:
            raise QueueFull("too many large messages are on their way", 1)
        cost = min(size * COPIES, max(size, self._most - self._kept))
        coming = AwaitedMessage(sender, cost, self.now())
        self._waiting[coming] = None
        self._admit()
        return coming

    def end(self, coming: AwaitedMessage) -> None:
        """The message's call is over, or its message is not wanted any more."""
        self._waiting.pop(coming, None)
        if coming.taken:
            del self._coming[coming]
            coming.taken = False
            self._large -= coming.cost
            self.memory.give_back(coming.cost)
        self._admit()

    def sweep(self) -> None:
        """Look for those that stall, now and then."""
        now = self.now()
        for coming in list(self._coming):
            if not coming.whole and coming.progress.stalled(coming.sender.came, now, STALLED, SLOWEST):
                self._stop(coming, TooSlow(f"less than {SLOWEST:g} bytes/s of the message came in the last seconds"))
        for coming in list(self._waiting):
            if now - coming.since > PATIENCE:
                self._stop(coming, QueueFull("too many large messages are on their way", 1))
        if self._waiting:
            self._make_way(now)
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            held = Counter(coming.sender.client for coming in self._coming)
            first = min(self._waiting, key=lambda coming: held[coming.sender.client])
            if self._large and self._large + first.cost > self._room:
                return
            if not self.memory.take(first.cost + self._kept):
                return
            self.memory.give_back(self._kept)
            del self._waiting[first]
            first.taken, first.since = True, self.now()
            self._large += first.cost
            self._coming[first] = None
            first.sender.admitted()

    def _make_way(self, now: float) -> None:
        counts = Counter(coming.sender.client for coming in self._coming)
        old = [coming for coming in self._coming if not coming.whole and now - coming.since > TURN]
        loser = max(old, key=lambda coming: (counts[coming.sender.client], now - coming.since), default=None)
        if loser is not None:
            words = "too many large messages are on their way, and this one came slowest"
            self._stop(loser, QueueFull(words, 1))

    def _stop(self, coming: AwaitedMessage, error: RequestError) -> None:
        coming.sender.give_up(error)
        self.end(coming)
