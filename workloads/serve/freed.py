"""Memory that large requests leave behind, given back to the system: glibc keeps it for a next one.

Asked by the gRPC server, whose library keeps a message in thousands of small pieces.
"""

import asyncio
import ctypes
from collections.abc import Callable

# After a large request has come and after it has ended, for all of the meantime.
PAUSE = 1.0


class Freed:
    """One per server; called on the event loop."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # Not in every C library.
        self._trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def soon(self) -> None:
        """A large request has ended."""
        trim = self._trim
        if trim is None:
            return
        if self._timer is not None:
            return  # not put off by the next one: whoever sends them without a pause would keep all of it
        self._timer = asyncio.get_running_loop().call_later(PAUSE, self._now, trim)

    def _now(self, trim: Callable[[int], int]) -> None:
        self._timer = None
        # On a thread: it walks over all that is free, without the interpreter's lock.
        asyncio.get_running_loop().run_in_executor(None, trim, 0)
