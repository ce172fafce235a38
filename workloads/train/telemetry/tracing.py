"""Breakdown of a step's time: some steps are watched with torch.profiler, whose events say two things.

The share of their time in which processes exchange; and, as the recipe asks, a trace for the artifact.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from slipway.api.training.recipe import Profile
from workloads.train.world import World

SETTLED, WATCHED = 5, 3  # steps before the first that is watched when nobody asks for a trace, and how many are
VOTE = [[1]]  # shape of the one number by which processes agree to stop, under way all the time beside the step


class Tracing:
    """Profiler of some steps, called around every step by all processes.

    `trace` is JSON for chrome://tracing or Perfetto, once it is done.

    `share`: of the watched steps' time, that in which this process had a collective under way (gloo's operations, or
    NCCL's kernels on the GPU). Waiting for a slower process is part of it, and computing may go on meanwhile: so it is
    the most that a faster network could save. None for a single process, and for exchanges that torch does not see
    (Horovod's).
    """

    def __init__(self, choice: Profile | None, world: World) -> None:
        self._wanted = choice is not None and world.first
        self._begin = choice.first_step if choice is not None else None
        self._count = choice.steps if choice is not None else WATCHED
        self._done = choice is None and world.size == 1
        self._several = world.size > 1
        self._profiler: profile | None = None
        self.trace: str | None = None
        self.share: float | None = None

    def before(self, step: int) -> None:
        """Begin the trace with the first step that is to be seen."""
        if self._done or self._profiler is not None:
            return
        if self._begin is None:
            self._begin = step + SETTLED
        if step >= self._begin:
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            self._profiler = profile(activities=activities, record_shapes=True)
            with _without_banner():
                self._profiler.start()
            self._started, self._last = time.perf_counter(), step + self._count - 1

    def after(self, step: int) -> None:
        """End the trace with the last step that is to be seen."""
        if self._profiler is None or step < self._last:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self._started
        with _without_banner():
            self._profiler.stop()
        events = self._profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
        exchanges = [(event.start_ns(), event.end_ns()) for event in events if _exchanges(event)]
        self.share = min(1.0, covered(exchanges) / 1e9 / seconds) if exchanges and self._several else None
        if self._wanted:
            self.trace = _exported(self._profiler)
        self._profiler, self._done = None, True


def _exchanges(event: Any) -> bool:
    """Tell whether an event is an exchange. On a GPU NCCL's kernels take the time; gloo then carries the vote alone."""
    if torch.cuda.is_available():
        return bool(event.device_type().name == "CUDA" and event.name().startswith("nccl"))
    return bool(event.name().startswith("gloo:") and event.shapes() != VOTE)


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """Length of the union of spans (begin, end): exchanges run side by side."""
    total, reached = 0, 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _exported(profiler: profile) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return path.read_text()


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """Silence libkineto, which writes a line to stderr whenever it starts or stops, whatever its log level.

    Nobody can act on that line.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
