"""What do people and the operator hear while a stage works?

Lines in a log, a bar on a terminal, posts to the operator.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any, Protocol, TypeVar

from slipway.api.quantizationstatus import Stage
from workloads.train.progress import Poster, Snapshot

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

INTERVAL = 5.0  # seconds between two lines about the same work
# Percent of the whole job at which a stage begins and ends; a stage that is left out is jumped over.
SHARE = {
    Stage.EXPORT: (0, 5),
    Stage.BASELINE: (5, 10),
    Stage.CALIBRATE: (10, 35),
    Stage.QUANTIZE: (35, 50),
    Stage.SENSITIVITY: (50, 70),
    Stage.QAT: (70, 90),
    Stage.BENCHMARK: (90, 97),
    Stage.PUBLISH: (97, 100),
}


class SizedIterable(Sized, Iterable[T_co], Protocol[T_co]):
    """What a bar can be shown for."""


class Voice:
    """Speaks for one process."""

    def __init__(self, poster: Poster | None = None) -> None:
        self._poster = poster or Poster()
        self._stage = Stage.EXPORT
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None

    def begin(self, stage: Stage) -> None:
        """From now on progress is that of this stage."""
        self._stage = stage
        self._post(0.0, {})

    def say(self, text: str) -> None:
        """A line for people."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text)

    def track(self, items: "SizedIterable[T]", what: str, done: int = 0) -> Iterator[T]:
        """The items, with progress; `done` were finished before a restart and are not among them."""
        total, last = done + len(items), time.monotonic()
        bar = self._open(total, done, what)
        try:
            for index, item in enumerate(items, start=done):
                yield item
                self._post((index + 1) / total, {})
                if bar is not None:
                    bar.update(1)
                elif time.monotonic() - last >= INTERVAL:
                    last = time.monotonic()
                    self.say(f"{what}: {index + 1} of {total}")
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

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Figures that the operator may show."""
        self._post(1.0, metrics)

    def _post(self, share: float, metrics: Mapping[str, float]) -> None:
        first, last = SHARE[self._stage]
        self._poster.update(Snapshot(round(first + share * (last - first)), 100, metrics=metrics))

    def close(self, *, finished: bool = False) -> None:
        """Send what is left; `finished` when the whole job is."""
        self._poster.close(Snapshot(100, 100) if finished else None)
