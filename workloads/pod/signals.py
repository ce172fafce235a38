"""Handler of SIGTERM, the request to stop; installed by the train command before anything slow."""

import signal
from types import FrameType

from workloads.errors import TERMINATED


class StopSignal:
    """Request to stop, by SIGTERM.

    Before `begin`, it ends the process at once; afterwards it is only noted, and the training loop saves first.
    """

    def __init__(self) -> None:
        self.requested = False
        self._graceful = False

    def install(self) -> None:
        """Install the handler: without one, the kernel ignores SIGTERM for process 1 of a container."""
        signal.signal(signal.SIGTERM, self._received)

    def begin(self) -> None:
        """Note SIGTERM alone from now on: there is something to save, or another process that would be left alone."""
        self._graceful = True

    def _received(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
        if not self._graceful:
            raise SystemExit(TERMINATED)
