"""One calibration in a process of its own: `python -m tests.perf.quantizing.quantize_calibration WHO MODEL SAMPLES`.

WHO is `ours` (every method from one pass) or a method of ONNX Runtime's own calibrators. Prints the peak of the
process' memory above what its imports took, and seconds; the bench starts one process for each row.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization.calibrate import CalibrationMethod as Theirs
from onnxruntime.quantization.calibrate import create_calibrator

from slipway.api.quantization.settings import CalibrationMethod
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.scale import UINT8
from workloads.quantize.calibration.statistics import Statistics

BATCH, SHAPE = 8, (3, 32, 32)
THEIRS = {"min-max": Theirs.MinMax, "entropy": Theirs.Entropy, "percentile": Theirs.Percentile}


def batches(samples: int) -> Iterator[dict[str, np.ndarray]]:
    """The same values for everyone, made when asked for."""
    random = np.random.default_rng(0)
    for _ in range(samples // BATCH):
        yield {"images": random.normal(size=(BATCH, *SHAPE)).astype(np.float32)}


def ours(model: Path, samples: int) -> int:
    """Ranges of every tensor by every method. Returns the number of tensors."""
    observer, statistics = Observer(onnx.load(model)), Statistics()
    for feeds in batches(samples):
        observer.observe(feeds, statistics)
    for method in CalibrationMethod:
        for tensor in statistics.values():
            ranges.find(tensor, method, UINT8, 99.99)
    return len(statistics)


def theirs(method: str, model: Path, samples: int) -> int:
    """By ONNX Runtime's calibrator as its documentation uses it, at its defaults (entropy then searches nothing)."""
    rows = batches(samples)

    class Reader:
        def get_next(self) -> Any:
            return next(rows, None)

    augmented = str(model.with_name(f"{model.stem}-{method}.augmented.onnx"))
    calibrator = create_calibrator(model, None, augmented, THEIRS[method])
    calibrator.collect_data(Reader())
    return len(calibrator.compute_data().data)


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    who, model, samples = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the imports is not the calibration's
    before, begin, spent = status("VmRSS"), time.monotonic(), time.process_time()
    tensors = ours(model, samples) if who == "ours" else theirs(who, model, samples)
    print(
        json.dumps(
            {
                "who": who,
                "samples": samples,
                "peakMiB": round((status("VmHWM") - before) / 2**20, 1),
                "seconds": round(time.monotonic() - begin, 2),
                "cpuSeconds": round(time.process_time() - spent, 2),
                "tensors": tensors,
            }
        )
    )


if __name__ == "__main__":
    main()
