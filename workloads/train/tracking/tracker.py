"""Protocol of a tracker of experiments, and all trackers of a run as one. The first process alone has any.

Nothing here may slow or fail a training: a tracker that raises is left out from then on, with a warning.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workloads.train.tracking import scalars


@dataclass(frozen=True)
class Run:
    """Run as trackers know it: one for the job, whatever its restarts. `settings`: the recipe; `tags`: lineage."""

    name: str
    uid: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """Protocol of a tracker. None of its methods waits, but `end`, for the seconds that it is given."""

    lost: int
    """Figures that were given up."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note some figures of a step."""

    def end(self, state: str, tags: Mapping[str, str], patience: float) -> None:
        """Note how the run ended, FINISHED, FAILED or KILLED, and what it made."""


@dataclass
class Trackers:
    """All trackers of a run; none in processes that are not the first."""

    every: Sequence[Tracker] = ()
    _ended: bool = False
    _broken: int = 0

    @property
    def lost(self) -> int:
        """Figures that some tracker has given up."""
        return self._broken + sum(one.lost for one in self.every)

    def point(self, step: int, loss: float | None) -> None:
        """Note the loss of a step; None where no point of the curve is kept."""
        if loss is not None and math.isfinite(loss):
            self._each(lambda one: one.log(step, {scalars.LOSS: loss}))

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Note a row of metrics.jsonl."""
        self._each(lambda one: one.log(int(row["step"]), scalars.of_row(row)))

    def end(self, state: str, tags: Mapping[str, str], patience: float) -> None:
        """End the run, once."""
        if not self._ended:
            self._ended = True
            self._each(lambda one: one.end(state, tags, patience))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for one in list(self.every):
            try:
                call(one)
            except Exception as error:  # whatever a library raises: a training is worth more than its tracking
                self._broken += 1 + one.lost
                self.every = [other for other in self.every if other is not one]
                warn(f"{type(one).__name__} is left out from here on, the training goes on: {error}")


def warn(words: str) -> None:
    """Print a warning about tracking."""
    print(f"warning: tracking: {words}", file=sys.stderr, flush=True)
