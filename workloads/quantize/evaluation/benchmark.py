"""Benchmark of two models: speed and memory.

Measured in turns, so that a busy machine is busy for both.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.measure import rss, timing
from workloads.measure.confidence import median_interval
from workloads.onnx import file
from workloads.onnx import session as runtime
from workloads.quantize.evaluation.gates import Speedup

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Feeds = dict[str, npt.NDArray[Any]]

CONFIDENCE = 0.95


def in_turns(
    models: "Sequence[onnx.ModelProto | bytes]",
    feeds: "Feeds",
    *,
    iterations: int,
    warmup: int,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> "npt.NDArray[np.float64]":
    """Seconds [model, iteration] of calls that alternate between the models."""
    sessions = [runtime.session(model, threads=threads) for model in models]
    calls = [partial(session.run, None, feeds) for session in sessions]
    return timing.in_turns(calls, rounds=iterations, warmup=warmup, clock=clock)


def figures(seconds: "npt.NDArray[np.float64]", batch: int) -> dict[str, float]:
    """p50 and p99 in milliseconds, throughput in samples per second, of one model's calls."""
    return {
        "batchSize": batch,
        "p50Ms": round(float(np.percentile(seconds, 50)) * 1e3, 4),
        "p99Ms": round(float(np.percentile(seconds, 99)) * 1e3, 4),
        "samplesPerSecond": round(batch / float(seconds.mean()), 1),
    }


def speedup_of(seconds: "npt.NDArray[np.float64]") -> Speedup:
    """Speedup of the second row against the first, pair by pair."""
    median, low, high = median_interval(seconds[0] / seconds[1], CONFIDENCE)
    return Speedup(median, low, high)


def peak_memory(model: Path, feeds: "Feeds", folder: Path) -> int | None:
    """Bytes by which a fresh process grows while it loads the model and runs it once; None when that process failed."""
    inputs = folder / "benchmark-inputs.npz"
    np.savez(inputs, **feeds)  # type: ignore[arg-type]
    grown = rss.in_fresh_process("workloads.quantize.evaluation.benchmark", str(model), str(inputs))
    inputs.unlink()
    return grown


def _grow(model: Path, inputs: Path) -> int:
    import onnxruntime  # noqa: F401 (its own size is not the model's)

    with np.load(inputs, allow_pickle=False) as arrays:
        feeds = dict(arrays)

    def work() -> object:
        session = runtime.session(model.read_bytes() if model.suffix == ".tflite" else file.load(model, own=True))
        return session, session.run(None, feeds)

    return rss.peak_growth(work)


if __name__ == "__main__":
    rss.say(_grow(Path(sys.argv[1]), Path(sys.argv[2])))
