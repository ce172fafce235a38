"""`bench --explain`: kernels with what they fuse, FLOPs by the shapes of the run, and the roof that bounds them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import helper

from slipway.api.quantization.ladder import Hardware, Target
from tests.unit.bench.test_command import run
from tests.unit.onnx_graphs.graphs import model, random, value
from workloads.onnx import kernels, roofline
from workloads.onnx.roofline import CALL, COMPUTE, MEMORY, Peaks
from workloads.quantize.algorithms import qdq
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.calibration.scale import Range

PEAKS = Peaks(bandwidth=1e10, floats=1e11, integers=4e11)  # the ridge is at 10 FLOPs a byte, and at 40


@pytest.mark.parametrize(
    ("seconds", "flops", "moved", "integer", "bound", "share"),
    [
        (1e-3, 80_000_000, 1_000_000, False, COMPUTE, 0.8),
        (1e-3, 80_000_000, 1_000_000, True, COMPUTE, 0.2),
        (1e-3, 8_000_000, 4_000_000, False, MEMORY, 0.4),
        (1e-3, 20_000_000, 1_000_000, True, MEMORY, 0.1),  # beyond the ridge of floats, and not of integers
        (1e-3, 1_000, 1_000, False, CALL, 0.0001),
        (1e-3, None, 5_000_000, False, MEMORY, 0.5),
        (1e-3, None, 100, False, CALL, 0.00001),
        (0.0, None, 100, False, CALL, 0.0),
        (1e-3, None, 20_000_000, False, MEMORY, 2.0),  # from a cache
    ],
)
def test_the_lower_roof_is_the_bound(
    seconds: float, flops: int | None, moved: int, integer: bool, bound: str, share: float
) -> None:
    found, told = roofline.verdict(PEAKS, seconds, flops, moved, integer=integer)
    assert found == bound
    assert told == pytest.approx(share)


def convolutions(path: Path) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["y"], "second"),
    ]
    weights = {"w1": random(16, 3, 3, 3), "w2": random(32, 16, 1, 1)}
    onnx.save(model(nodes, [value("x", [1, 3, 24, 24])], [value("y", [1, 32, 24, 24])], weights), path)
    return path


def test_a_kernel_stands_for_the_nodes_that_it_computes(tmp_path: Path) -> None:
    found = kernels.of_onnx_runtime(convolutions(tmp_path / "m.onnx"), [random(1, 3, 24, 24)])
    products = [kernel for kernel in found if kernel.flops]
    assert [kernel.flops for kernel in products] == [2 * 24 * 24 * 16 * 27, 2 * 24 * 24 * 32 * 16]
    assert products[0].nodes == ("Conv first", "Relu relu")
    assert [kernel.fusion for kernel in products] == ["vertical", ""]
    assert products[1].moved >= 4 * (32 * 16 + 24 * 24 * (16 + 32))


def test_a_quantized_convolution_stands_for_its_pairs_and_no_more(tmp_path: Path) -> None:
    given = qdq.prepare(onnx.load(convolutions(tmp_path / "m.onnx")))
    names = {name for node in given.graph.node for name in (*node.input, *node.output)} - {"w1", "w2"}
    ranges = {name: Range(-3.0, 3.0) for name in names}
    profile = profile_of(Target(hardware=Hardware.X86_VNNI))
    made = qdq.static(given, ranges, profile, [node.name for node in given.graph.node], per_channel=True)
    onnx.save(made, tmp_path / "q.onnx")
    found = [each for each in kernels.of_onnx_runtime(tmp_path / "q.onnx", [random(1, 3, 24, 24)]) if each.integer]
    assert [kernel.op for kernel in found] == ["QLinearConv", "QLinearConv"]
    assert [len([name for name in kernel.nodes if name.startswith("Conv")]) for kernel in found] == [1, 1]
    assert [kernel.flops for kernel in found] == [2 * 24 * 24 * 16 * 27, 2 * 24 * 24 * 32 * 16]


def test_the_command_tells_engines_and_draws_the_roofs(tmp_path: Path) -> None:
    path, plot = convolutions(tmp_path / "m.onnx"), tmp_path / "roof.svg"
    done = run("--explain", str(path), "--output", "json", "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert min(report["peaks"].values()) > 0.05
    assert {one["engine"] for one in report["explained"]} == {"onnxruntime", "openvino"}
    for one in report["explained"]:
        assert np.sum([row["microseconds"] for row in one["kernels"]]) > 0
        assert any("Relu" in "".join(row["nodes"]) or "relu" in row["nodes"] for row in one["kernels"] if row["fusion"])
    drawn = ElementTree.fromstring(plot.read_text())
    assert len(drawn.findall(".//{*}circle")) == 2
    assert len(drawn.findall(".//{*}polyline")) == 2
