"""Observer of the batcher's work. The metrics implement it; tests record it."""

from typing import Protocol


class BatchObserver(Protocol):
    """Called on the event loop, so it must be quick. All times in seconds."""

    def queued(self, seconds: float) -> None:
        """A request left the queue for an engine after so long."""

    def ran(self, rows: int, requests: int, seconds: float) -> None:
        """An engine ran a batch, well or not."""

    def answered(self, seconds: float) -> None:
        """A request got its result, so long after it came."""

    def ended(self, reason: str) -> None:
        """A request ended without a result.

        `reason`: queue_full, deadline, client_deadline, abandoned, refused, engine, not_ready, and those of own code.
        """


class NullObserver:
    """Observer that tells nobody."""

    def queued(self, seconds: float) -> None:
        """Do nothing."""

    def ran(self, rows: int, requests: int, seconds: float) -> None:
        """Do nothing."""

    def answered(self, seconds: float) -> None:
        """Do nothing."""

    def ended(self, reason: str) -> None:
        """Do nothing."""
