"""Speed of models in the tests' jobs: a number, and not this machine's.

Whether int8 is faster than float depends on the CPU (VNNI, AVX512) and on what else it does, and a job publishes
nothing that gains nothing: a test whose verdict hangs on that ends differently on each machine. Each model is loaded
and called once, by the library; then the seconds are made from FASTER.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from workloads.onnx import session as runtime
from workloads.quantize.evaluation import benchmark

FASTER = 1.25  # than the first model of a comparison, which is the float one: every other
SECONDS = 0.001
measured = benchmark.in_turns


@contextmanager
def fixed(faster: float = FASTER) -> Iterator[None]:
    """All other models take 1 / `faster` of the first one's time, in this process."""

    def in_turns(
        models: Sequence[Any],
        feeds: dict[str, Any],
        *,
        iterations: int,
        warmup: int,
        threads: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Any:
        for model in models:
            runtime.session(model, threads=threads).run(None, feeds)
        assert (iterations > 0, warmup >= 0, callable(clock)) == (True, True, True)
        seconds = np.full((len(models), iterations), SECONDS)
        seconds[1:] /= faster
        return seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "in_turns", in_turns)
        yield


@contextmanager
def of_this_machine() -> Iterator[None]:
    """The clock as users have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "in_turns", measured)
        yield
