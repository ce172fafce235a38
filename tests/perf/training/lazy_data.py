"""`python -m tests.perf.training.lazy_data`: the memory of a whole job over 32 and over 2,000 samples of one .npz file.

Every stage in a process of its own run; what is measured is its peak of resident memory above its imports. Results go
to tests/perf/results/lazy_data.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.perf import machine

RESULT = Path(__file__).parents[1] / "results" / "lazy_data.json"
WIDTH = 49152  # of a sample: three channels of 128 x 128


def given(folder: Path, samples: int, *, compressed: bool) -> None:
    """A strided convolution, a product, and random pictures."""
    random = np.random.default_rng(0)
    weights = {"w1": random.normal(size=(8, 3, 8, 8)), "w2": random.normal(size=(8, 10))}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["i"]),
        helper.make_node("Conv", ["i", "w1"], ["c"], "conv", strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["y"], "product"),
    ]
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([-1, 3, 128, 128], np.int64), "shape"))
    ports = [helper.make_tensor_value_info(*port) for port in (("x", TensorProto.FLOAT, ["n", WIDTH]),)]
    ports.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10]))
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    save = np.savez_compressed if compressed else np.savez
    save(folder / "data.npz", x=random.random((samples, WIDTH), dtype=np.float32).round(2))


def quantize(folder: Path, samples: int) -> dict[str, Any]:
    """All stages in this process."""
    import onnxruntime  # noqa: F401 (its own size is not the data's)

    from tests.unit.quantize import jobs
    from workloads.measure import rss

    data = {"uri": (folder / "data.npz").as_uri()}
    job = jobs.job(
        folder / "job",
        folder / "m.onnx",
        calibration={**data, "samples": samples, "methods": ["min-max", "entropy"]},
        evaluation={**data, "metric": "agreement", "task": "closeness"},
        ladder=["static-per-channel", "weight-only-int8"],
        gates={"accuracy": {"maxDrop": 0.5}},
    )
    found: list[Any] = []
    return {"grownBytes": rss.peak_growth(lambda: found.append(jobs.run(job)))}


def measured(samples: int, *, compressed: bool) -> dict[str, Any]:
    """A row."""
    with tempfile.TemporaryDirectory(prefix="slipway-lazy-", dir="/var/tmp") as name:
        folder = Path(name)
        given(folder, samples, compressed=compressed)
        command = [sys.executable, "-m", "tests.perf.training.lazy_data", "--folder", name, "--samples", str(samples)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size = (folder / "data.npz").stat().st_size
    row = {"samples": samples, "compressed": compressed, "arrayBytes": samples * WIDTH * 4, "fileBytes": size}
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--samples", type=int)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(quantize(options.folder, options.samples)))
        return
    about = {**machine.describe(), "loadBefore": machine.load()}
    rows = [measured(count, compressed=packed) for packed in (False, True) for count in (32, 2000)]
    for row in rows:
        print(json.dumps(row))
    RESULT.write_text(json.dumps({"about": {**about, "loadAfter": machine.load()}, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
