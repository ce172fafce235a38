"""Graphs as exporters really write them: each kind of fault that stopped a job or ruined a candidate, least form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.onnx_graphs.graphs import SAMPLES, built, classifier, model, quantize, random, value
from workloads.errors import BadInput
from workloads.onnx import session
from workloads.quantize.graph import gemm, integers, prepare, walk, widen

STATIC = ["static-per-tensor", "static-per-channel"]
X = {"x": random(SAMPLES, 16)}


@pytest.mark.parametrize("axis", [-1, 0])
def test_a_free_axis_written_as_a_length_of_minus_one_or_zero(tmp_path: Path, axis: int) -> None:
    graph = classifier()
    for port in (graph.graph.input[0], graph.graph.output[0]):
        port.type.tensor_type.shape.dim[0].dim_value = axis
    found = quantize(tmp_path, graph, X, [*STATIC, "dynamic"])
    assert len(built(found)) == 3


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_an_old_opset_is_converted_and_told(tmp_path: Path, opset: int) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Softmax", ["h"], ["s"], "soft", axis=1),
        helper.make_node("Unsqueeze", ["s"], ["u"], "wide", axes=[2]),
        helper.make_node("ReduceSum", ["u"], ["r"], "sum", axes=[2], keepdims=0),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {"w1": random(16, 32, seed=1), "w2": random(32, 4, seed=2)}
    graph = model(nodes, [value("x", ["n", 16])], [value("y", ["n", 4])], weights, opset=opset, ir_version=4)
    found = quantize(tmp_path, graph, X, STATIC)
    assert len(built(found)) == 2
    assert all(row.sqnr_db is None or row.sqnr_db > 15 for row in built(found).values())


def test_ir_3_with_every_constant_as_an_input(tmp_path: Path) -> None:
    graph = classifier(opset=11, ir_version=3)
    for tensor in graph.graph.initializer:
        graph.graph.input.append(value(tensor.name, list(tensor.dims)))
    found = quantize(tmp_path, graph, X, [*STATIC, "weight-only-int8", "dynamic"])
    assert len(built(found)) == 4


@pytest.mark.parametrize(
    "weight",
    [random(3, 16, 8, seed=1), random(16, seed=1), np.zeros((16, 0), np.float32)],
    ids=["three axes", "one axis", "no element"],
)
def test_one_product_with_a_strange_constant_does_not_switch_a_rung_off(tmp_path: Path, weight: Any) -> None:
    graph = classifier()
    graph.graph.initializer.append(numpy_helper.from_array(weight, "strange"))
    graph.graph.node.append(helper.make_node("MatMul", ["x", "strange"], ["z"], "strange"))
    graph.graph.output.append(value("z", None))
    found = quantize(tmp_path, graph, X, [*STATIC, "dynamic", "weight-only-int8", "weight-only-int4"])
    assert {row.rung for row in built(found).values()} >= {*STATIC, "dynamic", "weight-only-int8"}


def test_a_grouped_transposed_convolution_does_not_switch_a_rung_off(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["h"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["h", "w2"], ["t"], "up", group=4, strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["t"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["y"], "flat"),
    ]
    weights = {"w1": random(8, 3, 3, 3, seed=1), "w2": random(8, 2, 2, 2, seed=2)}
    graph = model(nodes, [value("x", ["n", 3, 8, 8])], [value("y", ["n", 8])], weights)
    found = quantize(tmp_path, graph, {"x": random(SAMPLES, 3, 8, 8)}, STATIC)
    assert len(built(found)) == 2


def test_onnx_own_attention_is_not_taken_for_the_librarys(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"], "product"),
        helper.make_node("Attention", ["q", "q", "q"], ["y"], "attention", q_num_heads=2, kv_num_heads=2),
    ]
    graph = model(
        nodes,
        [value("x", ["n", 5, 16])],
        [value("y", ["n", 5, 8])],
        {"w": random(16, 8, seed=1)},
        opset=23,
        ir_version=11,
    )
    prepared = prepare.prepared(graph, lambda _: True).model
    from workloads.quantize.algorithms import qdq

    assert qdq.dynamic_nodes(prepared, []) == ["product"]


def test_a_strangers_operator_of_a_known_name_stays_in_float() -> None:
    from slipway.api.quantization.ladder import Target
    from workloads.quantize.algorithms import qdq
    from workloads.quantize.algorithms.target import profile_of

    graph = classifier()
    graph.graph.node[0].domain = "com.example"
    assert "first" not in qdq.quantizable_nodes(graph, profile_of(Target()), [])
    assert "first" not in qdq.dynamic_nodes(graph, [])
    assert "first" not in qdq.packable_nodes(graph, [])


@pytest.mark.parametrize("taken", ["w1_scale", "w1_int8", "w1_dequantize"])
def test_a_name_that_exists_is_not_computed_with(tmp_path: Path, taken: str) -> None:
    graph = classifier()
    graph.graph.initializer.append(numpy_helper.from_array(random(32, seed=9), taken))
    graph.graph.node[1].input[0] = "h2"
    graph.graph.node.insert(1, helper.make_node("Mul", ["h", taken], ["h2"], "scaled"))
    row = built(quantize(tmp_path, graph, X, ["weight-only-int8"]))["weight-only-int8"]
    assert row.sqnr_db is not None
    assert row.sqnr_db > 30


def test_a_gemm_with_factors_keeps_its_accuracy(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first", alpha=0.1, beta=3.0),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], "second", alpha=2.0, beta=0.25, transB=1),
    ]
    weights = {
        "w1": random(16, 32, seed=1),
        "b1": random(32, seed=3),
        "w2": random(4, 32, seed=2),
        "b2": random(4, seed=4),
    }
    graph = model(nodes, [value("x", ["n", 16])], [value("y", ["n", 4])], weights)
    found = quantize(tmp_path, graph, X, ["static-per-channel", "dynamic", "weight-only-int8"])
    assert all(row.sqnr_db is not None and row.sqnr_db > 25 for row in built(found).values())
    assert len(built(found)) == 3


def test_a_gemm_whose_factor_cannot_be_folded_stays_in_float() -> None:
    nodes = [helper.make_node("Gemm", ["x", "x2"], ["y"], "product", alpha=0.5)]
    graph = model(nodes, [value("x", [4, 16]), value("x2", [16, 4])], [value("y", [4, 4])], {})
    assert gemm.fold(graph) == ["product"]


def test_a_constant_that_two_gemms_read_is_scaled_for_one_alone() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "scaled", alpha=0.5),
        helper.make_node("Gemm", ["x", "w"], ["b"], "plain"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    graph = model(nodes, [value("x", ["n", 16])], [value("y", ["n", 4])], {"w": random(16, 4)})
    before = session.session(graph).run(None, X)[0]
    assert gemm.fold(graph) == []
    onnx.checker.check_model(graph)
    np.testing.assert_allclose(session.session(graph).run(None, X)[0], before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_model_that_is_quantized_already_is_refused(tmp_path: Path, kind: str) -> None:
    from onnxruntime.quantization import quantize_dynamic

    if kind == "dynamic":
        quantize_dynamic(classifier(), tmp_path / "q.onnx", op_types_to_quantize=["MatMul"])
        graph = onnx.load(tmp_path / "q.onnx")
    else:
        graph = classifier()
        graph.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "s"))
        graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), "z"))
        graph.graph.node[0].input[0] = "xd"
        graph.graph.node.insert(0, helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]))
        graph.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]))
    with pytest.raises(BadInput, match="quantized already"):
        quantize(tmp_path, graph, X, STATIC)


@pytest.mark.parametrize("as_node", [False, True], ids=["initializer", "node"])
@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_a_weight_that_is_no_number_is_named(tmp_path: Path, number: float, word: str, as_node: bool) -> None:
    graph = classifier()
    spoilt = random(32, 4)
    spoilt[3, 1] = number
    tensor = numpy_helper.from_array(spoilt, "w2")
    if as_node:
        del graph.graph.initializer[1]
        graph.graph.node.insert(0, helper.make_node("Constant", [], ["w2"], "constant", value=tensor))
    else:
        graph.graph.initializer[1].CopyFrom(tensor)
    with pytest.raises(BadInput, match=f"weight w2 holds {word}: the training diverged"):
        quantize(tmp_path, graph, X, STATIC)


@pytest.mark.parametrize("gemm", [False, True], ids=["added", "a bias"])
def test_an_infinite_mask_is_no_fault(tmp_path: Path, gemm: bool) -> None:
    graph = classifier()
    graph.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 0, -np.inf], np.float32), "mask"))
    if gemm:
        graph.graph.node.pop()
        graph.graph.node.append(helper.make_node("Gemm", ["r", "w2", "mask"], ["m"], "masked"))
    else:
        graph.graph.node[2].output[0] = "z"
        graph.graph.node.append(helper.make_node("Add", ["z", "mask"], ["m"], "masked"))
    graph.graph.node.append(helper.make_node("Softmax", ["m"], ["y"], "soft", axis=-1))
    assert built(quantize(tmp_path, graph, X, ["dynamic"]))


@pytest.mark.parametrize("kind", [np.float16, "bfloat16"], ids=["float16", "bfloat16"])
def test_weights_of_16_bits_are_widened_and_told(kind: Any) -> None:
    import ml_dtypes

    dtype = np.dtype(ml_dtypes.bfloat16) if kind == "bfloat16" else np.dtype(kind)
    number = helper.np_dtype_to_tensor_dtype(dtype)
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    graph = model(
        nodes, [value("x", ["n", 16], number)], [value("y", ["n", 8], number)], {"w1": random(16, 8).astype(dtype)}
    )
    assert widen.narrow_type(graph)
    result = prepare.prepared(graph, lambda _: True)
    assert any("quantized from float32" in remark for remark in result.remarks)
    assert [port.type.tensor_type.elem_type for port in (*result.model.graph.input, *result.model.graph.output)] == [
        number,
        number,
    ]
    assert all(tensor.data_type == TensorProto.FLOAT for tensor in result.model.graph.initializer)
    onnx.checker.check_model(result.model, full_check=True)


def test_a_float16_model_goes_through(tmp_path: Path) -> None:
    half = classifier()
    for tensor in half.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for port in (half.graph.input[0], half.graph.output[0]):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    found = quantize(tmp_path, half, {"x": X["x"].astype(np.float16)}, [*STATIC, "weight-only-int8"])
    assert len(built(found)) == 3


def test_a_local_function_is_looked_into() -> None:
    graph = classifier()
    body = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    function = helper.make_function("local", "Block", ["a", "b"], ["d"], body, [helper.make_opsetid("", 17)])
    graph.functions.append(function)
    graph.opset_import.append(helper.make_opsetid("local", 1))
    graph.graph.node[0].CopyFrom(helper.make_node("Block", ["x", "w1"], ["h"], "first", domain="local"))
    before = session.session(graph).run(None, X)[0]
    ready = prepare.prepared(graph, lambda _: True).model
    assert sum(node.op_type == "MatMul" for node in ready.graph.node) == 2
    np.testing.assert_allclose(session.session(ready).run(None, X)[0], before, rtol=1e-4, atol=1e-4)


def test_nodes_of_one_name_and_of_none_get_their_own() -> None:
    graph = classifier()
    graph.graph.node[0].name = graph.graph.node[2].name = "same"
    graph.graph.node[1].name = ""
    ready = prepare.prepared(graph, lambda _: True).model
    names = [node.name for node in ready.graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names


def test_a_preparation_that_changes_the_answers_is_done_without() -> None:
    graph, seen = classifier(), []

    def same(candidate: Any) -> bool:
        seen.append(candidate)
        return len(seen) > 2

    result = prepare.prepared(graph, same)
    assert [node.op_type for node in result.model.graph.node] == ["MatMul", "Relu", "MatMul"]
    assert len(seen) == 3


def test_integer_weights_are_counted_and_zero_points_are_none(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    assert integers.weights(classifier()) == 0
    quantize_dynamic(classifier(), tmp_path / "q.onnx", op_types_to_quantize=["MatMul"], per_channel=True)
    assert integers.weights(onnx.load(tmp_path / "q.onnx")) == 2
    assert "w1" in walk.names(classifier().graph)
