"""How fast are two models, and how much memory do they take?

Measured in turns, so that a busy machine is busy for both.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize import runtime
from workloads.quantize.confidence import median_interval
from workloads.quantize.gates import Speedup

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Feeds = dict[str, npt.NDArray[Any]]

CONFIDENCE = 0.95


def in_turns(
    models: "Sequence[onnx.ModelProto | bytes]", feeds: "Feeds", *, iterations: int, warmup: int, threads: int
) -> "npt.NDArray[np.float64]":
    """Seconds [model, iteration] of calls that alternate between the models."""
    sessions = [runtime.session(model, threads=threads) for model in models]
    for session in sessions * warmup:
        session.run(None, feeds)
    seconds = np.zeros((len(models), iterations))
    for iteration in range(iterations):
        # Every other round backwards: what runs first in a round finds the caches as the other left them.
        for index in range(len(models))[:: 1 if iteration % 2 == 0 else -1]:
            begin = time.perf_counter()
            sessions[index].run(None, feeds)
            seconds[index, iteration] = time.perf_counter() - begin
    return seconds


def figures(seconds: "npt.NDArray[np.float64]", batch: int) -> dict[str, float]:
    """p50 and p99 in milliseconds, throughput in samples per second, of one model's calls."""
    return {
        "batchSize": batch,
        "p50Ms": round(float(np.percentile(seconds, 50)) * 1e3, 4),
        "p99Ms": round(float(np.percentile(seconds, 99)) * 1e3, 4),
        "samplesPerSecond": round(batch / float(seconds.mean()), 1),
    }


def speedup_of(seconds: "npt.NDArray[np.float64]") -> Speedup:
    """Of the second row against the first, pair by pair."""
    median, low, high = median_interval(seconds[0] / seconds[1], CONFIDENCE)
    return Speedup(median, low, high)


def peak_memory(model: Path, feeds: "Feeds", folder: Path) -> int | None:
    """Bytes by which a fresh process grows while it loads the model and runs it once; None when that process failed."""
    inputs = folder / "benchmark-inputs.npz"
    np.savez(inputs, **feeds)  # type: ignore[arg-type]
    command = [sys.executable, "-m", "workloads.quantize.benchmark", str(model), str(inputs)]
    # It finds its modules wherever this process does, however that was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    inputs.unlink()
    return int(json.loads(done.stdout)["bytes"]) if done.returncode == 0 else None


def _grow(model: Path, inputs: Path) -> int:
    import onnxruntime  # noqa: F401 (its own size is not the model's)

    with np.load(inputs, allow_pickle=False) as arrays:
        feeds = dict(arrays)
    # Forgets the peak of the imports: Linux sets VmHWM to what is resident now (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    session = runtime.session(model.read_bytes())
    session.run(None, feeds)
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    print(json.dumps({"bytes": _grow(Path(sys.argv[1]), Path(sys.argv[2]))}))
