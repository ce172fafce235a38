"""How fast is the training and how much memory does it take? Read by the loop once per epoch, over all processes."""

import resource
import time

import torch

from workloads.train.world import World

POINTS = 400  # of the curve of the whole run


class Meter:
    """Counts the steps of an epoch's training, without its evaluation; keeps some points of the loss's curve."""

    def __init__(self, total_steps: int) -> None:
        self._every = max(1, total_steps // POINTS)
        self.curve: list[tuple[int, float]] = []
        self.begin()

    def begin(self) -> None:
        """An epoch's training starts."""
        self._start, self._steps = time.monotonic(), 0

    def step(self, step: int, loss: torch.Tensor) -> None:
        """After each step. The device is waited for only where a point is kept."""
        self._steps += 1
        if step % self._every == 0:
            self.curve.append((step, round(float(loss), 6)))

    def figures(self, world: World, batch: int, tokens: int) -> dict[str, float | int]:
        """samplesPerSecond, tokensPerSecond where samples have tokens, and the largest process's peakMemoryBytes."""
        seconds = max(1e-9, time.monotonic() - self._start)
        found: dict[str, float | int] = {"samplesPerSecond": round(self._steps * batch / seconds, 3)}
        if tokens:
            found["tokensPerSecond"] = round(self._steps * batch * tokens / seconds, 3)
        found["peakMemoryBytes"] = int(world.largest(float(peak_bytes(world.device))))
        return found


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held: of the GPU by torch's allocator, else resident memory as the kernel says."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
