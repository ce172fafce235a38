"""`python -m tests.perf.training.startup_memory`: memory of a process until its model is in place, by strategy.

Two processes, GPT-2s of two sizes; what is told is bytes for each further parameter, asked for (as a GPU's allocator
counts) and resident, and the share of DDP's. Results go to tests/perf/results/startup_memory.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.perf import machine
from tests.unit.train import processes
from tests.unit.train.runs.strategies.footprint import Shape, startup_peak

RESULT = Path(__file__).parents[1] / "results" / "startup_memory.json"
SIZES = (Shape(2, 512, 32, 1), Shape(10, 512, 32, 1))
BUCKET = 10**6  # elements of DeepSpeed's; the same for both sizes, and so in neither figure


def row(name: str, precision: str) -> dict[str, Any]:
    """Measure one strategy."""
    found = []
    for shape in SIZES:
        with tempfile.TemporaryDirectory(prefix="slipway-startup-") as folder:
            found.append(processes.results(startup_peak, (name, precision, shape, BUCKET), 2, Path(folder)))
    (asked, resident), count = (
        [max(large[kind] - small[kind] for small, large in zip(*found, strict=True)) for kind in (0, 1)],
        found[1][0][2] - found[0][0][2],
    )
    return {
        "strategy": name,
        "precision": precision,
        "parameters": [one[0][2] for one in found],
        "bytesPerParameter": round(asked / count, 2),
        "residentBytesPerParameter": round(resident / count, 2),
    }


def main() -> None:
    processes.prepare()
    about = {**machine.describe(), "processes": 2, "loadBefore": machine.load()}
    # Under bf16 DDP and FSDP2 hold at the start what they hold under fp32: autocast leaves the weights alone.
    chosen = (("DDP", "fp32"), ("FSDP2", "fp32"), ("ZeRO3", "fp32"), ("ZeRO3", "bf16"))
    rows = [row(name, precision) for name, precision in chosen]
    for one in rows:
        one["shareOfDdp"] = round(one["bytesPerParameter"] / rows[0]["bytesPerParameter"], 3)
        print(json.dumps(one))
    RESULT.write_text(json.dumps({"about": {**about, "loadAfter": machine.load()}, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
