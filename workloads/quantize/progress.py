"""Progress of a stage, for people and for the operator.

Lines in a log, a bar on a terminal, posts to the operator.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.status import Stage
from workloads.pod.progress import Poster, body
from workloads.quantize.eta import Rate, WorkPlan

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

INTERVAL = 5.0  # seconds between two lines about the same work
# Climbed rung by rung: each is a leg of its own, told of by `climb`.
_CLIMBED = frozenset({Stage.QUANTIZE, Stage.QAT})


class SizedIterable(Sized, Iterable[T_co], Protocol[T_co]):
    """Iterable of known length, for which a bar can be shown."""


class ProgressReporter:
    """Voice of one process: its log lines, its bar and its posts."""

    def __init__(self, poster: Poster | None = None) -> None:
        self._poster = poster or Poster()
        self._journey: WorkPlan | None = None
        self._since = time.monotonic()
        self._metrics: dict[str, float] = {}
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None

    def plan(self, journey: WorkPlan) -> None:
        """Set the journey by which all progress is measured; no progress is posted without one."""
        self._journey = journey

    def begin(self, stage: Stage) -> None:
        """Begin a stage: from now on progress is that of this one."""
        self._since = time.monotonic()
        if self._journey is not None and stage not in _CLIMBED:
            self._journey.begin(stage)
            self._post()

    def climb(self, rung: Rung) -> None:
        """Begin a rung: from now on progress is that of this one."""
        if self._journey is not None:
            self._journey.begin(Stage.QAT if rung is Rung.QAT else Stage.QUANTIZE, rung)
            self._post()

    def advance(self) -> None:
        """Count one part of the leg, such as a candidate, as done."""
        if self._journey is not None:
            self._journey.part_done()
            self._post()

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Add figures of the candidates; they go along with every post from now on."""
        self._metrics.update(metrics)

    def stage_done(self) -> Rate:
        """End the stage; returns the time and the weight that it took."""
        seconds = time.monotonic() - self._since
        if self._journey is None:
            return Rate(seconds)
        took = self._journey.stage_done(seconds)
        self._since = time.monotonic()
        self._post()
        return took

    def say(self, text: str) -> None:
        """Print a line for people."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text)

    def track(self, items: "SizedIterable[T]", what: str, done: int = 0) -> Iterator[T]:
        """Iterate over items and show progress; `done` were finished before a restart and are not among them."""
        total, last = done + len(items), time.monotonic()
        bar = self._open(total, done, what)
        try:
            for index, item in enumerate(items, start=done):
                yield item
                self._track((index + 1) / total)
                if bar is not None:
                    bar.update(1)
                elif time.monotonic() - last >= INTERVAL:
                    last = time.monotonic()
                    self.say(f"{what}: {index + 1} of {total}")
            self.advance()
        finally:
            if bar is not None:
                bar.close()
                self._bar = None

    def _open(self, total: int, done: int, what: str) -> Any:
        if not self._terminal or self._bar is not None:
            return None
        from tqdm import tqdm

        self._bar = tqdm(total=total, initial=done, desc=what, unit="", dynamic_ncols=True)
        return self._bar

    def _track(self, share: float) -> None:
        if self._journey is not None:
            self._journey.track(share)
            self._post()

    def _post(self) -> None:
        if self._journey is not None:
            left = self._journey.remaining_seconds(time.monotonic() - self._since)
            self._poster.send(body(self._journey.percent, left, self._metrics, datetime.now(UTC)))

    def close(self, *, finished: bool = False) -> None:
        """Send what is left; `finished` when the whole job is."""
        if finished:
            self._poster.send(body(100, 0, self._metrics, datetime.now(UTC)))
        self._poster.close()
