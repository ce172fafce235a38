"""Speed and peak memory of the training. Read by the loop once per epoch, over all processes."""

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from workloads.train.world import World

POINTS = 400  # of the curve of the whole run


@dataclass(frozen=True)
class Work:
    """Cost of a sample: its tokens, the FLOPs of its forward and backward pass; `peak`: FLOP/s of one device.

    0 tokens where samples have none, None for what is not known.
    """

    tokens: int = 0
    flops: int | None = None
    peak: float | None = None


class ThroughputMeter:
    """Counts the steps of an epoch's training, without its evaluation; keeps some points of the loss's curve."""

    def __init__(self, total_steps: int, work: Work) -> None:
        self._every = max(1, total_steps // POINTS)
        self.work = work
        self.curve: list[tuple[int, float]] = []
        self.begin()

    def begin(self) -> None:
        """Begin an epoch's training."""
        self._start, self._steps = time.monotonic(), 0

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Context of what is no training: its time is left out."""
        started = time.monotonic()
        yield
        self._start += time.monotonic() - started

    def step(self, step: int, loss: torch.Tensor) -> float | None:
        """Count a step. Returns its loss where a point is kept: only there the device is waited for."""
        self._steps += 1
        if step % self._every:
            return None
        self.curve.append((step, round(float(loss), 6)))
        return self.curve[-1][1]

    def figures(self, world: World, batch: int, share: float | None) -> dict[str, float | int]:
        """Figures of the epoch so far, each only where it is known; `share` is this process's of Tracing.

        samplesPerSecond, tokensPerSecond, flopsPerSecond of all processes together; mfu, model FLOPs utilization: what
        part that is of what the devices could do; communicationShare, the mean over processes; peakMemoryBytes, the
        largest process's.
        """
        speed = self._steps * batch / max(1e-9, time.monotonic() - self._start)
        found: dict[str, float | int] = {"samplesPerSecond": round(speed, 3)}
        if self.work.tokens:
            found["tokensPerSecond"] = round(speed * self.work.tokens, 3)
        if self.work.flops:
            found["flopsPerSecond"] = round(speed * self.work.flops)
            if self.work.peak is not None:
                found["mfu"] = round(speed * self.work.flops / (self.work.peak * world.size), 4)
        shared, known = world.sum([share or 0.0, float(share is not None)])
        if known:
            found["communicationShare"] = round(shared / known, 4)
        found["peakMemoryBytes"] = int(world.largest(float(peak_bytes(world.device))))
        return found


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held: of the GPU by torch's allocator, else resident memory as the kernel says."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
