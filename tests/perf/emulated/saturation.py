"""`python -m tests.perf.emulated.saturation`: what 8-bit products come to on a CPU with AVX2 and without VNNI.

The same files are run by this machine's CPU and by an emulated Haswell (Debian's qemu-user), with ONNX Runtime's fast
kernels and with its exact ones. The product has weights and inputs that fill their ranges, so that pairs of products
overflow 16 bits wherever a kernel adds them there. Signal to noise in dB against the float product; no time is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.ladder import Hardware, Target
from tests.perf import machine
from workloads.quantize.algorithms import qdq
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.calibration.scale import Range

RESULT = Path(__file__).parents[1] / "results" / "saturation.json"
CPU, EMULATOR, LIMIT = "Haswell", "qemu-x86_64", 300
WIDTH, OUTPUTS, ROWS = 256, 64, 16
EXACT = "session.x64quantprecision"


def models(folder: Path) -> list[str]:
    """The float product and its candidates, as the rungs make them, and the input."""
    numbers = np.random.default_rng(0)
    weights = np.sign(numbers.normal(size=(WIDTH, OUTPUTS))) * numbers.uniform(0.8, 1, (WIDTH, OUTPUTS))
    x = numbers.uniform(0, 1, (ROWS, WIDTH)).astype(np.float32)
    inputs, outputs = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])]
        for name, width in (("x", WIDTH), ("y", OUTPUTS))
    ]
    constants = [numpy_helper.from_array(weights.astype(np.float32), "w")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "g", inputs, outputs, constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    y = x @ weights.astype(np.float32)
    found = {"x": Range(0.0, float(x.max())), "y": Range(float(y.min()), float(y.max()))}
    made: dict[str, Any] = {"float": model}
    for hardware in (Hardware.X86_VNNI, Hardware.X86):
        profile = profile_of(Target(hardware=hardware))
        made[f"static, {hardware}"] = qdq.static(model, found, profile, ["product"], per_channel=True, bits=8)
        made[f"dynamic, {hardware}"] = qdq.dynamic(model, profile, ["product"])
    made["weight-only-int8"] = qdq.weight_only(model, 8, ["product"])
    made["weight-only-int4"] = qdq.weight_only(model, 4, ["product"])
    np.save(folder / "x.npy", x)
    for name, one in made.items():
        onnx.save(one, folder / f"{name}.onnx")
    return list(made)


def answer(folder: Path, output: Path, *, exact: bool) -> None:
    """Run every model of the folder: in this process, which may be an emulated one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(EXACT, "1" if exact else "0")
    feeds = {"x": np.load(folder / "x.npy")}
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found[path.stem] = session.run(None, feeds)[0]
    np.savez(output, **found)


def noise(reference: Any, found: Any) -> float | None:
    """Signal to noise in dB; None where there is no difference."""
    power = float(((found - reference) ** 2).sum())
    return round(10 * float(np.log10((reference**2).sum() / power)), 1) if power else None


def measured(folder: Path) -> dict[str, Any]:
    """dB by CPU, kernels and candidate."""
    names = models(folder)
    command = [sys.executable, "-m", "tests.perf.emulated.saturation", "--answer", str(folder)]
    ways = {"this CPU": [], f"emulated {CPU}": [EMULATOR, "-cpu", CPU]}
    results: dict[str, Any] = {}
    for who, before in ways.items():
        for exact in (False, True):
            output = folder / "answers.npz"
            extra = ["--output", str(output), *(["--exact"] if exact else [])]
            subprocess.run(
                [*before, *command, *extra], check=True, env=os.environ, stderr=subprocess.DEVNULL, timeout=LIMIT
            )
            with np.load(output) as arrays:
                reference = arrays["float"]
                told = {name: noise(reference, arrays[name]) for name in names if name != "float"}
            results.setdefault(who, {})["exact kernels" if exact else "fast kernels"] = told
    return results


def table() -> str:
    """For tests.perf.figures."""
    report = json.loads(RESULT.read_text())
    columns = [(who, kernels) for who, by in report["results"].items() for kernels in by]
    rows = [
        f"| dB against float | {' | '.join(f'{who}, {kernels}' for who, kernels in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in next(iter(next(iter(report["results"].values())).values())):
        cells = [report["results"][who][kernels][name] for who, kernels in columns]
        rows.append(f"| {name} | {' | '.join(str(cell) for cell in cells)} |")
    about = report["about"]
    words = (
        f"`python -m tests.perf.emulated.saturation` measures it; this one is [{RESULT.name}](/tests/perf/results/"
        f"{RESULT.name}): {about['cpu']}, commit {about['commit']}."
    )
    return "\n".join([*rows, "", textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--exact", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer is not None:
        answer(options.answer, options.output, exact=options.exact)
        return
    if shutil.which(EMULATOR) is None:
        sys.exit(f"{EMULATOR} is missing: apt-get install qemu-user")
    load = machine.load()
    with tempfile.TemporaryDirectory(prefix="slipway-saturation-") as folder:
        results = measured(Path(folder))
    about = {**machine.describe(), "loadBefore": load, "loadAfter": machine.load()}
    RESULT.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    print(table())


if __name__ == "__main__":
    main()
