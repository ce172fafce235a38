"""A step of `make gpu`: its name, its module, its seconds; and how one says that there is nothing to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Row = dict[str, Any]


class Skip(Exception):  # noqa: N818
    """The step has nothing to do here, for the reason given: a library, the device, or both are missing."""


class Step(NamedTuple):
    """`seconds` is the most that it may take. Its module has `rows(device, small)`."""

    name: str
    module: str
    seconds: int


# Those that answer the most come first: what is not reached in eight minutes is said.
STEPS = (
    Step("training", "tests.gpu.training", 150),
    Step("tensorrt", "tests.gpu.engines", 150),
    Step("memory", "tests.gpu.memory", 60),
    Step("server", "tests.gpu.serving", 100),
    Step("nccl", "tests.gpu.collectives", 30),
    Step("energy", "tests.gpu.energy", 30),
    Step("vllm", "tests.gpu.language", 120),
)


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def milliseconds(work: Callable[[], object], device: str, times: int) -> float:
    """Median of so many runs, after two that are not counted."""
    seconds = []
    for turn in range(times + 2):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if turn >= 2:
            seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1000, 4)
