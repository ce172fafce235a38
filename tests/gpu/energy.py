"""Energy by the machine's own counters (NVML on a GPU) over a second or two of matrix products."""

from __future__ import annotations

import time

from tests.gpu.step import Row, Skip, synchronize


def rows(device: str, small: bool) -> list[Row]:
    """Joules by counter, and watts. Skip where no counter may be read."""
    import torch

    from workloads.bench import energy

    found = energy.counters()
    if not found:
        raise Skip("no energy counter can be read here: NVML needs nvidia-ml-py and a driver, RAPL its file's right")
    size, seconds = (256, 0.2) if small else (4096, 2.0)
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    started = time.perf_counter()

    def work() -> None:
        while time.perf_counter() - started < seconds:
            for _ in range(20):
                matrix @ matrix
            synchronize(device)

    used = energy.measure(found, work)
    took = time.perf_counter() - started
    return [
        {"what": name, "joules": round(joules, 3), "watts": round(joules / took, 1)} for name, joules in used.items()
    ]
