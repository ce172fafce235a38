"""Weights that no library quantizes: recurrent layers, bodies of If, tables of embeddings: most of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.ladder import Hardware, Target
from tests.unit.onnx_graphs.graphs import model, random, value
from workloads.onnx import saturation, session
from workloads.quantize.algorithms import qdq, stored_weights
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.evaluation.answers import sqnr_db
from workloads.quantize.graph import integers

make = helper.make_node


def recurrent(kind: str, directions: int) -> tuple[Any, Any]:
    """x [time, n, 32] -> [time, directions, n, 48]."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * 48
    weights = {"w": random(directions, gates, 32, seed=1, scale=0.2), "r": random(directions, gates, 48, seed=2) * 0.1}
    way = "bidirectional" if directions == 2 else "forward"
    nodes = [make(kind, ["x", "w", "r"], ["y"], "layer", hidden_size=48, direction=way)]
    graph = model(nodes, [value("x", ["t", "n", 32])], [value("y", ["t", directions, "n", 48])], weights)
    return graph, {"x": random(7, 3, 32)}


def branches(where: str) -> tuple[Any, Any]:
    """x [n, 24], flag -> either of two products; their constants lie in the bodies, or outside of them."""

    def body(name: str, seed: int) -> Any:
        own = [numpy_helper.from_array(random(24, 40, seed=seed), f"w_{name}")]
        nodes = [make("MatMul", ["x", f"w_{name}"], [f"y_{name}"], f"product_{name}")]
        return helper.make_graph(nodes, name, [], [value(f"y_{name}", ["n", 40])], own)

    bodies = body("one", 1), body("two", 2)
    outer = {}
    if where == "outside":
        for each in bodies:
            outer[each.initializer[0].name] = numpy_helper.to_array(each.initializer[0])
            del each.initializer[:]
    nodes = [make("If", ["flag"], ["y"], "choice", then_branch=bodies[0], else_branch=bodies[1])]
    inputs = [value("x", ["n", 24]), value("flag", [1], TensorProto.BOOL)]
    graph = model(nodes, inputs, [value("y", ["n", 40])], outer)
    return graph, {"x": random(9, 24), "flag": np.array([False])}


def table() -> tuple[Any, Any]:
    """Two texts that look up one table of rows of very different size."""
    rows = random(200, 32, seed=1) * np.geomspace(0.01, 10, 200, dtype=np.float32)[:, None]
    nodes = [
        make("Gather", ["rows", "ids"], ["a"], "first"),
        make("Gather", ["rows", "others"], ["b"], "second"),
        make("Add", ["a", "b"], ["y"], "sum"),
    ]
    ids = [value(name, ["n", 5], TensorProto.INT64) for name in ("ids", "others")]
    feeds = {
        name: np.random.default_rng(seed).integers(200, size=(4, 5)) for seed, name in enumerate(("ids", "others"))
    }
    return model(nodes, ids, [value("y", ["n", 5, 32])], {"rows": rows}), feeds


CASES = {
    "LSTM": lambda: recurrent("LSTM", 1),
    "LSTM both ways": lambda: recurrent("LSTM", 2),
    "GRU": lambda: recurrent("GRU", 1),
    "GRU both ways": lambda: recurrent("GRU", 2),
    "RNN": lambda: recurrent("RNN", 1),
    "bodies of If": lambda: branches("inside"),
    "constants outside of the bodies": lambda: branches("outside"),
    "embeddings": table,
}


def answers(graph: Any, feeds: Any) -> Any:
    return session.session(graph).run(None, feeds)[0]


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_stored_small_and_the_answers_stay(name: str) -> None:
    graph, feeds = CASES[name]()
    small = qdq.weight_only(graph, 8, qdq.packable_nodes(graph, []))
    assert small is not None
    onnx.checker.check_model(small, full_check=True)
    assert integers.weights(small) > 0
    assert small.ByteSize() < 0.45 * graph.ByteSize()
    noise = sqnr_db(answers(graph, feeds), answers(small, feeds))
    assert noise is not None
    assert noise > 30


def product() -> tuple[Any, Any]:
    """A product and a convolution, weights as the rung has always stored them."""
    nodes = [
        make("Conv", ["x", "k"], ["h"], "conv"),
        make("Flatten", ["h"], ["f"], "flat"),
        make("MatMul", ["f", "w"], ["y"], "product"),
    ]
    weights = {"k": random(8, 4, 3, 3, seed=1), "w": random(128, 24, seed=2)}
    return model(nodes, [value("x", ["n", 4, 6, 6])], [value("y", ["n", 24])], weights), {"x": random(2, 4, 6, 6)}


@pytest.mark.parametrize("name", [*CASES, "products"])
def test_they_run_with_the_exact_kernels_of_cpus_without_vnni(name: str) -> None:
    """Without a zero point the first call failed there: "x_zero_point must be null or 1D tensor"."""
    graph, feeds = product() if name == "products" else CASES[name]()
    small = qdq.weight_only(graph, 8, qdq.packable_nodes(graph, []))
    assert small is not None
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(saturation.EXACT, "1")
    found = onnxruntime.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    noise = sqnr_db(answers(graph, feeds), found.run(None, feeds)[0])
    assert noise is not None
    assert noise > 30


def test_both_branches_of_an_if_are_stored() -> None:
    graph, feeds = branches("inside")
    small = qdq.weight_only(graph, 8, ["choice"])
    assert small is not None
    for flag in (True, False):
        both = {**feeds, "flag": np.array([flag])}
        noise = sqnr_db(answers(graph, both), answers(small, both))
        assert noise is not None
        assert noise > 30
    assert integers.weights(small) == 2


def test_a_node_that_is_excluded_keeps_its_weights() -> None:
    graph, _ = branches("inside")
    assert qdq.packable_nodes(graph, ["choice"]) == []
    assert qdq.weight_only(graph, 8, []) is None


def test_a_table_that_is_also_a_products_weight_is_no_table() -> None:
    """Tied embeddings: as a product's weight the table is dequantized whole, so its lookup gains nothing."""
    graph, _ = table()
    graph.graph.node.append(make("MatMul", ["y", "turned"], ["z"], "product"))
    graph.graph.node.insert(0, make("Transpose", ["rows"], ["turned"], "turn"))
    assert stored_weights.holders(graph) == []


def test_a_name_of_a_body_is_not_the_constant_of_that_name_outside() -> None:
    graph, feeds = branches("inside")
    graph.graph.initializer.append(numpy_helper.from_array(random(24, 40, seed=8), "w_one_int8"))
    graph.graph.initializer.append(numpy_helper.from_array(random(24, 40, seed=9), "w_two"))
    small = qdq.weight_only(graph, 8, ["choice"])
    noise = sqnr_db(answers(graph, feeds), answers(small, feeds))
    assert noise is not None
    assert noise > 30


def test_a_dynamic_model_stores_its_tables_too() -> None:
    graph, feeds = table()
    graph.graph.node.append(make("MatMul", ["y", "w"], ["z"], "product"))
    graph.graph.initializer.append(numpy_helper.from_array(random(32, 16, seed=3), "w"))
    graph.graph.output[0].CopyFrom(value("z", ["n", 5, 16]))
    nodes = qdq.dynamic_nodes(graph, [])
    assert nodes == ["product", "first", "second"]
    small = qdq.dynamic(graph, profile_of(Target(hardware=Hardware.X86_VNNI)), nodes)
    assert small.ByteSize() < 0.45 * graph.ByteSize()
    noise = sqnr_db(answers(graph, feeds), answers(small, feeds))
    assert noise is not None
    assert noise > 30
