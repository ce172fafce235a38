"""Weights that are small and read in each call: is what runs a kernel over integers, or is it floats made anew?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import helper

from tests.unit.onnx_graphs.graphs import model, random, value
from workloads.onnx import external_data, file
from workloads.onnx import session as runtime
from workloads.quantize.algorithms import qdq

WIDE = 1024


def product(kind: str) -> Any:
    nodes = {
        "MatMul": helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
        "Gemm": helper.make_node("Gemm", ["x", "w", "b"], ["y"], "product"),
        "Gemm, transposed": helper.make_node("Gemm", ["x", "w", "b"], ["y"], "product", transB=1),
    }
    weights = {"w": random(64, 64, seed=1), "b": random(64, seed=2)}
    return model([nodes[kind]], [value("x", ["n", 64])], [value("y", ["n", 64])], weights)


def run_by(graph: Any, folder: Path) -> set[str]:
    """The operators that are left when the library has fused what it can."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "fused.onnx")
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "fused.onnx").graph.node}


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "Gemm, transposed"])
def test_int8_weights_are_not_dequantized_in_each_call(tmp_path: Path, kind: str) -> None:
    graph = product(kind)
    packed = qdq.weight_only(graph, 8, ["product"])
    assert packed is not None
    found = run_by(packed, tmp_path)
    assert "MatMulNBits" in found
    assert "DequantizeLinear" not in found
    x = random(3, 64, seed=3)
    expected, given = (runtime.session(each).run(None, {"x": x})[0] for each in (graph, packed))
    assert abs(expected - given).max() < 0.05 * abs(expected).max()


def test_a_weight_that_is_read_both_ways_round_keeps_its_axes() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["t"], "turned", transB=1),
        helper.make_node("Gemm", ["t", "w"], ["y"], "straight"),
    ]
    graph = model(nodes, [value("x", ["n", 64])], [value("y", ["n", 64])], {"w": random(48, 64, seed=1)})
    packed = qdq.weight_only(graph, 8, ["turned", "straight"])
    x = random(3, 64, seed=3)
    expected, given = (runtime.session(each).run(None, {"x": x})[0] for each in (graph, packed))
    assert abs(expected - given).max() < 0.05 * abs(expected).max()


def test_int4_products_take_the_kernels_over_integers() -> None:
    packed = qdq.weight_only(product("MatMul"), 4, ["product"])
    assert packed is not None
    node = next(each for each in packed.graph.node if each.op_type == "MatMulNBits")
    assert {each.name: each.i for each in node.attribute}["accuracy_level"] == qdq.INT8_PRODUCTS


def test_integers_in_a_file_of_their_own_run_as_fast_as_those_in_the_graph(tmp_path: Path) -> None:
    """Without packing, as floats in files are loaded, the fused kernel took 20 to 80 times as long."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"], "product"),
        helper.make_node("MatMul", ["t", "kept"], ["y"], "kept"),
    ]
    weights = {"w": random(WIDE, WIDE, seed=1), "kept": random(WIDE, WIDE, seed=2)}
    graph = model(nodes, [value("x", ["n", WIDE])], [value("y", ["n", WIDE])], weights)
    packed = qdq.weight_only(graph, 8, ["product"])
    inside = runtime.session(packed, threads=1)
    onnx.save(packed, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=1 << 16)
    held = file.load(tmp_path / "m.onnx", own=True)
    assert external_data.held(held)
    sessions = [inside, runtime.session(held, threads=1)]
    x = random(1, WIDE, seed=3)
    best = [float("inf"), float("inf")]
    for _ in range(12):
        for place, session in enumerate(sessions):
            begin = time.process_time()
            session.run(None, {"x": x})
            best[place] = min(best[place], time.process_time() - begin)
    assert best[1] < 5 * best[0]
