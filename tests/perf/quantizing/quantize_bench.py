"""`python -m tests.perf.quantizing.quantize_bench`: our calibration beside ONNX Runtime's and NVIDIA's, in one run on
one machine.

Memory: a ResNet-18 on 32x32 images, 32 to 512 samples, a process for each row. Entropy: the same histograms of its
activations are searched by us, by NVIDIA's published function (whose thresholds ours must equal), and by ONNX Runtime's
(whose definition is another one), in turns. Results go to tests/perf/results/quantize.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization.calibrate import HistogramCollector

from slipway.api.common.artifact import DType, Signature, TensorSpec
from tests.models.modelopt import entropy_threshold
from tests.perf import machine
from tests.perf.quantizing.quantize_calibration import SHAPE, THEIRS, batches
from workloads import models
from workloads.export import from_torch
from workloads.onnx import file
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.ranges.entropy import best_threshold
from workloads.quantize.calibration.statistics import Statistics

RESULT = Path(__file__).parents[1] / "results" / "quantize.json"
LEVELS = 128  # magnitudes of a signed 8-bit integer


def resnet(folder: Path) -> Path:
    """The model that is calibrated, with weights from a seed."""
    torch.manual_seed(0)
    module = models.build("resnet18", {"channels": SHAPE[0], "classes": 10, "small_images": True}).eval()
    signature = Signature(
        inputs=[TensorSpec(name="images", dtype=DType.FLOAT32, shape=["batch", *SHAPE])],
        outputs=[TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", 10])],
    )
    file.save(from_torch.export(module, signature), folder / "resnet18.onnx")
    return folder / "resnet18.onnx"


def memory(model: Path, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """A row for everyone at every size; a calibrator that dies is a row too."""
    for samples in sizes:
        for who in ("ours", *THEIRS):
            command = [
                sys.executable,
                "-m",
                "tests.perf.quantizing.quantize_calibration",
                who,
                str(model),
                str(samples),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            died = {"who": who, "samples": samples, "error": words[0]}
            yield {"what": "memory", **(died if done.returncode else json.loads(done.stdout.splitlines()[-1]))}


def histograms(model: Path, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, magnitudes and both sides of the activations, spread over the depth of the network."""
    observer, seen = Observer(onnx.load(model)), Statistics()
    for feeds in batches(64):
        observer.observe(feeds, seen)
    # A tensor of zeros has one bin, which NVIDIA's function cannot take.
    names = [name for name, tensor in seen.items() if np.count_nonzero(tensor.histogram.counts) > LEVELS]
    for index in np.linspace(0, len(names) - 1, count).astype(int):
        histogram = seen[names[index]].histogram
        folded = histogram.folded()
        used = int(np.flatnonzero(folded)[-1]) + 1
        signed = histogram.counts[0, histogram.half - used : histogram.half + used]
        yield names[index], folded[:used], signed


def entropy(model: Path, tensors: int, rounds: int) -> Iterator[dict[str, Any]]:
    """CPU seconds of each search on the same histogram; the median of the rounds."""
    nvidia, library = entropy_threshold(), HistogramCollector("entropy", False, 2048, LEVELS, 99.99, "same")
    for name, folded, signed in histograms(model, tensors):
        edges = np.arange(-len(folded), len(folded) + 1, dtype=np.float64)
        whole = np.append(signed, 0)[: len(edges) - 1]
        searches: dict[str, Callable[[], Any]] = {
            "ours": lambda folded=folded: best_threshold(folded, LEVELS),
            "nvidia": lambda folded=folded: nvidia(folded, LEVELS),
            "onnxruntime": lambda whole=whole, edges=edges: library.get_entropy_threshold(
                (whole, edges, edges[0], edges[-1]), LEVELS
            ),
        }
        seconds: dict[str, list[float]] = {who: [] for who in searches}
        found: dict[str, Any] = {}
        for _ in range(rounds):
            for who, search in searches.items():
                begin = time.process_time()
                found[who] = search()
                seconds[who].append(time.process_time() - begin)
        medians = {who: round(statistics.median(values), 4) for who, values in seconds.items()}
        same = found["ours"] == found["nvidia"]
        yield {"what": "entropy", "tensor": name, "bins": len(folded), "sameAsNvidia": same, "cpuSeconds": medians}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Growth over the samples, and how many times as long the others search."""
    peaks: dict[str, list[float]] = {}
    for row in rows:
        if row["what"] == "memory" and "peakMiB" in row:
            peaks.setdefault(row["who"], []).append(row["peakMiB"])
    searched = [row for row in rows if row["what"] == "entropy"]

    def ratio(who: str) -> float:
        return round(min(row["cpuSeconds"][who] / row["cpuSeconds"]["ours"] for row in searched), 1)

    return {
        "peakMiBFirstAndLast": {who: [values[0], values[-1]] for who, values in peaks.items()},
        "entropyIdenticalToNvidia": all(row["sameAsNvidia"] for row in searched),
        "entropyTimesFasterThanNvidiaAtLeast": ratio("nvidia"),
        "entropyTimesFasterThanOnnxRuntimeAtLeast": ratio("onnxruntime"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="*", default=[32, 64, 128, 256, 512])
    parser.add_argument("--tensors", type=int, default=4, help="whose histograms are searched")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {**machine.describe(), "loadBefore": machine.load()}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        model, rows = resnet(Path(folder)), []
        for produce in (entropy(model, options.tensors, options.rounds), memory(model, options.samples)):
            for row in produce:
                rows.append(row)
                print(json.dumps(row), flush=True)
    about["loadAfter"] = machine.load()
    report = {"about": about, "summary": summary(rows), "results": rows}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))


if __name__ == "__main__":
    main()
