"""Phases of the server's life: loading, ready, draining, stopping. Asked by every readiness probe.

SIGTERM -> draining: not ready any more, but everything is still served, because balancers notice late. Then stopping:
no new work, what is under way is finished. A second signal, or Ctrl-C, goes on to the next step at once.
"""

import asyncio
import signal
from enum import StrEnum


class Phase(StrEnum):
    """Phase of the server's life, in order; there is no way back."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class Lifecycle:
    """Life of the server: one per process."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self._term = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True while requests are welcome."""
        return self.phase is Phase.READY

    def install(self) -> None:
        """Take SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.end)
        loop.add_signal_handler(signal.SIGINT, self.interrupt)

    def end(self) -> None:
        """A signal to leave; the second one hurries."""
        if self._term.is_set():
            self._hurry.set()
        self._term.set()

    def interrupt(self) -> None:
        """Ctrl-C: nobody is balancing load here."""
        self._hurry.set()
        self._term.set()

    async def until_told(self) -> None:
        """Returns when the server should leave."""
        await self._term.wait()

    async def hurried(self, seconds: float) -> None:
        """Wait so long, or until somebody hurries."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
