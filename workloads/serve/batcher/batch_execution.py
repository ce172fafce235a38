"""Work of an engine instance: a batch, or the search for the request that spoils one. Used by batcher.py."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from workloads.serve.batcher.ticket import Ticket

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)


class EngineInstance(Protocol[T_contra, R]):
    """One engine instance. The batcher gives it one batch at a time."""

    def run(self, payloads: Sequence[T_contra]) -> "asyncio.Future[Sequence[R]]":
        """One result per payload, in order. Any exception: the batch failed. EngineFailed: every batch would."""


@dataclass
class BatchRun(Generic[T, R]):
    """Work of a lane: batches still to run, the next one last. `whole` until a batch had to be split.

    `paired`: the batch that runs now is the first half of one that failed, and the second half is next.
    """

    lane: EngineInstance[T, R]
    work: list[list[Ticket[T, R]]]
    whole: bool = True
    paired: bool = False

    def split(self, batch: list[Ticket[T, R]]) -> None:
        """Search for the request at fault in `batch`: first in its first half, then in the second."""
        middle = len(batch) // 2
        self.work += [batch[middle:], batch[:middle]]
        self.whole, self.paired = False, True

    def cleared(self) -> None:
        """The batch ran well. If it was a first half, the fault is in the second, which need not run as a whole."""
        if self.paired and self.work and len(self.work[-1]) > 1:
            self.split(self.work.pop())
        else:
            self.paired = False
