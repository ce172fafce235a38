"""Turns to read a message: so many at once, and every connection in its own turn. Used by receiving.py.

What a call sends before its turn stays at the client, but for the 64 KiB that HTTP/2 gives every stream.
"""

import asyncio
from collections import OrderedDict, deque


class Turns:
    """Called on the event loop."""

    def __init__(self, places: int) -> None:
        """`places`: how many at once."""
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def begin(self, connection: str) -> None:
        """Wait for a turn; `end` gives it to another."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(connection, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end()
            else:
                self._forget(connection, turn)
            raise

    def end(self) -> None:
        """One turn is over: the next connection's."""
        while self._waiting:
            connection, calls = self._waiting.popitem(last=False)
            turn = calls.popleft()
            if calls:
                self._waiting[connection] = calls
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, connection: str, turn: "asyncio.Future[None]") -> None:
        calls = self._waiting.get(connection)
        if calls is not None and turn in calls:
            calls.remove(turn)
            if not calls:
                del self._waiting[connection]
