"""Has somebody asked this process to stop? SIGTERM's handler, installed by the train command before anything slow."""

import signal
from types import FrameType

from workloads.errors import TERMINATED


class Stop:
    """Before `begin`, SIGTERM ends the process at once; afterwards it is only noted, and the training loop saves
    first.
    """

    def __init__(self) -> None:
        self.requested = False
        self._graceful = False

    def install(self) -> None:
        """As process 1 of a container, without a handler, SIGTERM would be ignored by the kernel."""
        signal.signal(signal.SIGTERM, self._received)

    def begin(self) -> None:
        """From now on there is something to save, or somebody who would be left alone."""
        self._graceful = True

    def _received(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
        if not self._graceful:
            raise SystemExit(TERMINATED)
