"""Collectives of torch.distributed in one process: NCCL on a GPU, gloo on a CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.gpu.step import Row, milliseconds


def rows(device: str, small: bool) -> list[Row]:
    """Sum and gather of one process with itself give what went in."""
    import torch
    from torch import distributed

    backend = "nccl" if device == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group(backend, init_method=f"file://{Path(folder) / 'store'}", rank=0, world_size=1)
        values = torch.arange(1024 if small else 2**24, dtype=torch.float32, device=device)
        gathered = torch.empty_like(values)
        took = milliseconds(lambda: distributed.all_reduce(values.clone()), device, 5)
        total = values.clone()
        distributed.all_reduce(total)
        distributed.all_gather_into_tensor(gathered, values)
        same = bool(torch.equal(total, values) and torch.equal(gathered, values))
        distributed.destroy_process_group()
    return [{"what": backend, "ok": same, "bytes": values.nbytes, "allReduceMs": took}]
