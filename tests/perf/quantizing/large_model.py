"""`python -m tests.perf.quantizing.large_model`: a model over 2 GB through weight-only int8, and the memory that it
takes.

A chain of products [4096, 4096] with external data; all stages in a process of its own, whose peak of resident memory
above its imports (and that of its children) is measured. Pages of files that are mapped count. Results go to
tests/perf/results/large_model.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.perf import machine

RESULT = Path(__file__).parents[1] / "results" / "large_model.json"


def chain(folder: Path, layers: int, width: int) -> Path:
    """x [n, width] through products with a Relu between them, each weight in weights.bin."""
    random, size = np.random.default_rng(0), width * width * 4
    nodes, tensors, last = [], [], "x"
    with (folder / "weights.bin").open("wb") as stream:
        for layer in range(layers):
            stream.write((random.standard_normal((width, width), dtype=np.float32) * (2 / width) ** 0.5).tobytes())
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[width, width], data_location=1)
            for key, value in (("location", "weights.bin"), ("offset", layer * size), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"p{layer}"], f"product{layer}"))
            nodes.append(helper.make_node("Relu", [f"p{layer}"], [f"r{layer}"], f"relu{layer}"))
            last = f"r{layer}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    np.savez(folder / "data.npz", x=random.standard_normal((16, width), dtype=np.float32))
    return folder / "m.onnx"


def quantize(folder: Path, limit: int) -> dict[str, Any]:
    """All stages in this process; models above `limit` bytes are taken for large."""
    import onnxruntime  # noqa: F401 (its own size is not the model's)

    from tests.unit.quantize import jobs
    from workloads.measure import rss
    from workloads.onnx import file
    from workloads.quantize.stages import publish  # noqa: F401 (nor are the stages')

    file.ONE_MESSAGE = limit
    data = {"uri": (folder / "data.npz").as_uri()}
    job = jobs.job(
        folder / "job",
        folder / "m.onnx",
        calibration=data,
        evaluation={**data, "metric": "agreement", "task": "closeness"},
        benchmark={"batchSizes": [1], "iterations": 10, "warmup": 1},
    )
    found = []
    grown = rss.peak_growth(lambda: found.append(jobs.run(job)))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    rows = {row.name: row.size_bytes for row in found[0].comparison}
    return {"grownBytes": grown, "childBytes": children, "sizes": rows, "selected": found[0].selected}


def measured(folder: Path, layers: int, width: int, limit: int) -> dict[str, Any]:
    """The same in a process of its own, with the model's size and the share of it that was held at the peak."""
    path = chain(folder, layers, width)
    command = [
        sys.executable,
        "-m",
        "tests.perf.quantizing.large_model",
        "--folder",
        str(folder),
        "--limit",
        str(limit),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    size = path.stat().st_size + (folder / "weights.bin").stat().st_size
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    most = max(row["grownBytes"], row["childBytes"])
    return {"layers": layers, "width": width, "modelBytes": size, **row, "peakOverModel": round(most / size, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--limit", type=int, default=(1 << 31) - (64 << 20))
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(quantize(options.folder, options.limit)))
        return
    about = {**machine.describe(), "loadBefore": machine.load()}
    with tempfile.TemporaryDirectory(prefix="slipway-large-", dir="/var/tmp") as folder:
        row = measured(Path(folder), options.layers, options.width, options.limit)
    report = {"about": {**about, "loadAfter": machine.load()}, "results": [row]}
    options.result.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
