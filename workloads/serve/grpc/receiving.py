"""Limit of the gRPC messages that arrive at once. gRPC keeps each in memory until it is whole, and tells nobody.

It takes no more of a message than HTTP/2's window until it is asked for it. So few are asked for at a time, each
connection in its turn, for a moment: a small message is there by then. One that takes longer leaves its turn to others
and is counted as if it were as large as a message can be, and there is room for so many of these. Whoever has stood
there longest, of the client that has most, makes way for the next.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from workloads.serve.errors import Invalid, QueueFull, RequestError, TooSlow
from workloads.serve.grpc.turns import Turns

# A message that is there has been handed over by then, also by a busy loop: it is looked at twice.
MOMENT = 0.01
LOOKS = 2
# Messages that are read at once and for no longer.
QUICK = 2
# After which one may have to make way, and after which it must have come.
TURN = 2.0
PATIENCE = 30.0
# Of the memory for requests: the others are HTTP's.
SHARE = 0.5


class Memory(Protocol):
    """Memory of all requests together."""

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when there is no room for them."""

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""


class Own:
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


class Coming:
    """A message that is awaited; `error` when it is no longer."""

    __slots__ = ("error", "looks", "peer", "quick", "since", "taken", "task", "timer")

    def __init__(self, peer: str, since: float, task: "asyncio.Task[object]") -> None:
        self.peer = peer
        self.since = since
        self.task = task
        self.looks = 0
        self.quick = True
        self.taken = 0
        self.error: RequestError | None = None
        self.timer: asyncio.TimerHandle | None = None


class Receiving:
    """Bounded reading of messages: one per server.

    `begin` before a message is read, `end` after it, whatever came of it.
    """

    def __init__(self, memory: Memory, most: int, size: int, clock: Callable[[], float] | None = None) -> None:
        """`most` bytes of memory for requests; `size` of the largest message."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self.memory = memory
        self.size = size
        self.places = max(2, int(most * SHARE) // size - QUICK)
        # What the quick ones may be found to be; of large ones no more are kept than leave so much.
        self._unseen = min(QUICK * size, most // 8)
        self._turns = Turns(QUICK)
        self._slow: dict[Coming, None] = {}

    def room(self, size: int, large: bool) -> bool:
        """Reserve memory for `size` bytes of a message; False when there is no room for them."""
        unseen = self._unseen if large else 0
        if not self.memory.take(size + unseen):
            return False
        self.memory.give_back(unseen)
        return True

    async def message(self, context: Any) -> bytes:
        """The call's only message. RequestError when it does not come, or there is no room for it."""
        message = await self.next(context)
        if message is None:
            raise Invalid("the call ended without a message")
        return message

    async def next(self, context: Any) -> bytes | None:
        """The call's next message, None after the last one. RequestError as above."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in one)
        peer = context.peer()
        await self._turns.begin(peer)
        coming = self.begin(peer.rpartition(":")[0], task)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if coming.error is None:
                raise
            task.uncancel()
            raise coming.error from None
        finally:
            self.end(coming)
        return message if isinstance(message, bytes) else None

    def begin(self, peer: str, task: "asyncio.Task[object]") -> Coming:
        """`task` waits for the message; it is cancelled, and finds `error`, when it has waited too long."""
        coming = Coming(peer, self._clock(), task)
        coming.timer = self._loop.call_later(MOMENT, self._look, coming)
        return coming

    def end(self, coming: Coming) -> None:
        """End the wait for a message, which has come or is no longer wanted."""
        if coming.timer is not None:
            coming.timer.cancel()
            coming.timer = None
        self._slow.pop(coming, None)
        self._leave(coming)
        if coming.taken:
            self.memory.give_back(coming.taken)
            coming.taken = 0

    def _look(self, coming: Coming) -> None:
        coming.looks += 1
        if coming.looks < LOOKS:
            coming.timer = self._loop.call_later(MOMENT, self._look, coming)
            return
        if coming.taken:
            self._stop(coming, TooSlow(f"the message did not come within {PATIENCE:g} s"))
            return
        if len(self._slow) >= self.places:
            self._make_way()
        if len(self._slow) >= self.places or not self.memory.take(self.size):
            self._stop(coming, QueueFull("too many large messages are on their way", 1))
            return
        coming.taken = self.size
        self._slow[coming] = None
        self._leave(coming)
        coming.timer = self._loop.call_later(PATIENCE, self._look, coming)

    def _leave(self, coming: Coming) -> None:
        if coming.quick:
            coming.quick = False
            self._turns.end()

    def _make_way(self) -> None:
        counts = Counter(coming.peer for coming in self._slow)
        old = [coming for coming in self._slow if self._clock() - coming.since > TURN]
        loser = max(old, key=lambda coming: (counts[coming.peer], -coming.since), default=None)
        if loser is not None:
            self._stop(loser, QueueFull("too many large messages are on their way, and this one came slowest", 1))

    def _stop(self, coming: Coming, error: RequestError) -> None:
        self.end(coming)
        coming.error = error
        coming.task.cancel()
