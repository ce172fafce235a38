"""Which graphs let rows change each other, and which prove that they do not: held against the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from tests.unit.serve.row_graphs import MS, ONE, RANDOM, WEIGHT, changes, model, node
from workloads.serve.rows import Word, verdict_of

QUANTIZED = {"wq": np.clip(np.round(WEIGHT * 40), -127, 127).astype(np.int8), "s": np.float32(1 / 40), "z": np.int8(0)}
DYNAMIC = [
    node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
    node("MatMulInteger", ["q", "wq", "zero", "z"], ["product"]),
    node("Cast", ["product"], ["f"], to=T.FLOAT),
    node("Mul", ["scale", "s"], ["both"]),
    node("Mul", ["f", "both"], ["y"]),
]
PICTURE = ("batch", 2, 6, 6)
FILTER = {"w": RANDOM.standard_normal((2, 2, 3, 3)).astype(np.float32)}
NORM = {name: np.ones(2, np.float32) for name in ("scale", "bias", "mean", "var")}
SEQUENCE = ("batch", 5, 4)
RNN = {"W": RANDOM.standard_normal((1, 3, 4)).astype(np.float32), "R": np.eye(3, dtype=np.float32)[None]}


def branch(name: str, *nodes: Any) -> Any:
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(f"{name}_y", T.FLOAT, None)])


def conditional() -> list[Any]:
    """Twice as much for all when any value of the batch is large."""
    return [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "limit"], ["large"]),
        node(
            "If",
            ["large"],
            ["y"],
            then_branch=branch("a", node("Add", ["x", "x"], ["a_y"])),
            else_branch=branch("b", node("Identity", ["x"], ["b_y"])),
        ),
    ]


def loop_over_rows() -> list[Any]:
    """Adds up the rows so far."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("Gather", ["x", "i"], ["row"], axis=0),
            node("Add", ["sum", "row"], ["next"]),
            node("Identity", ["go"], ["go_on"]),
            node("Identity", ["next"], ["each"]),
        ],
        "body",
        [value("i", T.INT64, []), value("go", T.BOOL, []), value("sum", T.FLOAT, [4])],
        [value("go_on", T.BOOL, []), value("next", T.FLOAT, [4]), value("each", T.FLOAT, [4])],
    )
    return [
        node("Shape", ["x"], ["rows"], start=0, end=1),
        node("Squeeze", ["rows"], ["count"]),
        node("Loop", ["count", "", "zero"], ["last", "y"], body=body),
    ]


def scan_over_rows() -> list[Any]:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", ["sum", "row"], ["next"]), node("Identity", ["next"], ["each"])],
        "body",
        [value("sum", T.FLOAT, [4]), value("row", T.FLOAT, [4])],
        [value("next", T.FLOAT, [4]), value("each", T.FLOAT, [4])],
    )
    return [node("Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1)]


def function_with(op: str) -> list[Any]:
    return [
        helper.make_function("own", "F", ["a"], ["b"], [node(op, ["a"], ["b"], axis=0)], [helper.make_opsetid("", 18)])
    ]


MIXED: dict[str, onnx.ModelProto] = {
    "dynamic quantization": model(DYNAMIC, constants=QUANTIZED),
    "fused dynamic quantization": model(
        [node("DynamicQuantizeMatMul", ["x", "wq", "s", "z"], ["y"], domain=MS)], constants=QUANTIZED
    ),
    "range by hand": model(
        [node("ReduceMax", ["x"], ["most"], keepdims=1), node("Div", ["x", "most"], ["y"])],
    ),
    "mean over the batch": model(
        [node("ReduceMean", ["x", "axes"], ["m"]), node("Sub", ["x", "m"], ["y"])], constants={"axes": ONE * 0}
    ),
    "mean over the batch, axes of old opsets": model(
        [node("ReduceMean", ["x"], ["m"], axes=[-2]), node("Sub", ["x", "m"], ["y"])], opset=13
    ),
    "softmax over the batch": model([node("Softmax", ["x"], ["y"], axis=0)]),
    "softmax over the batch, counted from the end": model([node("LogSoftmax", ["x"], ["y"], axis=-2)]),
    "old softmax from axis 0 on": model([node("Softmax", ["x"], ["y"], axis=0)], opset=11),
    "layer norm over everything": model(
        [node("LayerNormalization", ["x", "one"], ["y"], axis=0)], constants={"one": np.ones((1, 4), np.float32)}
    ),
    "lp norm": model([node("LpNormalization", ["x"], ["y"], axis=0)]),
    "mean variance norm, its default axes": model([node("MeanVarianceNormalization", ["x"], ["y"])], PICTURE),
    "running sum": model([node("CumSum", ["x", "axis"], ["y"])], constants={"axis": np.int64(0)}),
    "top of the batch": model([node("TopK", ["x", "k"], ["y", "i"], axis=0)], constants={"k": ONE}),
    "arg max, its default axis": model([node("ArgMax", ["x"], ["i"]), node("Cast", ["i"], ["y"], to=T.FLOAT)]),
    "batch norm that trains": model(
        [node("BatchNormalization", ["x", "scale", "bias", "mean", "var"], ["y", "m", "v"], training_mode=1)],
        PICTURE,
        NORM,
    ),
    "non zero": model([node("NonZero", ["x"], ["i"]), node("Cast", ["i"], ["y"], to=T.FLOAT)]),
    "unique": model([node("Unique", ["x"], ["y"])]),
    "compress": model([node("Compress", ["x", "c"], ["y"])], constants={"c": np.array([True, False, True])}),
    "if": model(conditional(), constants={"limit": np.float32(10)}),
    "loop": model(loop_over_rows(), constants={"zero": np.zeros(4, np.float32)}),
    "scan": model(scan_over_rows(), constants={"zero": np.zeros(4, np.float32)}),
    "in a function": model([node("F", ["x"], ["y"], domain="own")], functions=function_with("Softmax")),
    "first row for all": model(
        [node("Gather", ["x", "i"], ["first"], axis=0), node("Sub", ["x", "first"], ["y"])], constants={"i": ONE * 0}
    ),
    "first row for all, by a slice": model(
        [node("Slice", ["x", "a", "b"], ["first"]), node("Sub", ["x", "first"], ["y"])],
        constants={"a": ONE * 0, "b": ONE},
    ),
    "every row with every other": model(
        [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])],
    ),
    "rows summed in a product": model(
        [node("Gemm", ["x", "w"], ["y"], transA=1)], constants={"w": np.ones((3, 4), np.float32)}
    ),
    "einsum of all with all": model([node("Einsum", ["x", "x"], ["y"], equation="id,jd->ij")]),
    "rows taken for steps": model([node("RNN", ["x", "W", "R"], ["y"], hidden_size=3)], SEQUENCE, RNN),
    "rows on another axis than the first": model([node("Transpose", ["x"], ["y"])]),
    "an operator behind one that nobody knows": model(
        [node("Foo", ["x"], ["q"], domain="own"), node("DynamicQuantizeLinear", ["q"], ["y", "s", "z"])]
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_change_each_other_by_construction(name: str) -> None:
    built = MIXED[name]
    axes = [axis.dim_param or axis.dim_value for axis in built.graph.input[0].type.tensor_type.shape.dim]
    if name != "an operator behind one that nobody knows":
        assert changes(built, axes) in {True, None}, "the example itself is wrong"
    verdict = verdict_of(built)
    assert verdict.word is Word.MIXED, verdict
    assert verdict.reason


PROVED: dict[str, onnx.ModelProto] = {
    "perceptron": model(
        [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("Softmax", ["r"], ["y"])],
        constants={"w": WEIGHT},
    ),
    "quantized with fixed ranges": model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("MatMul", ["d", "w"], ["y"]),
        ],
        constants={"w": WEIGHT, "s": np.float32(0.1), "z": np.int8(0)},
    ),
    "weights of 8 bits whose kernel quantizes row by row": model(
        [node("MatMulNBits", ["x", "w", "s"], ["y"], domain=MS, K=32, N=4, bits=8, block_size=32, accuracy_level=4)],
        ("batch", 32),
        {"w": RANDOM.integers(0, 255, (4, 1, 32)).astype(np.uint8), "s": np.ones(4, np.float32)},
    ),
    "network for pictures": model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["b"]),
            node("GlobalAveragePool", ["b"], ["p"]),
            node("Flatten", ["p"], ["y"]),
        ],
        PICTURE,
        {**FILTER, **NORM},
    ),
    "layer norm over values": model(
        [node("LayerNormalization", ["x", "one"], ["y"])], constants={"one": np.ones(4, np.float32)}
    ),
    "attention by hand": model(
        [
            node("MatMul", ["x", "w"], ["q"]),
            node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["q", "k"], ["s"]),
            node("Softmax", ["s"], ["a"], axis=-1),
            node("MatMul", ["a", "x"], ["y"]),
        ],
        SEQUENCE,
        {"w": WEIGHT},
    ),
    "steps folded into rows": model(
        [node("Reshape", ["x", "to"], ["f"]), node("MatMul", ["f", "w"], ["y"])],
        SEQUENCE,
        {"to": np.array([0, 20], np.int64), "w": RANDOM.standard_normal((20, 2)).astype(np.float32)},
    ),
    "recurrent, steps first inside": model(
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("RNN", ["t", "W", "R"], ["all", "last"], hidden_size=3),
            node("Squeeze", ["last", "zero"], ["y"]),
        ],
        SEQUENCE,
        {**RNN, "zero": ONE * 0},
    ),
    "means of values": model([node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)], constants={"axes": ONE}),
    "einsum row by row": model([node("Einsum", ["x", "w"], ["y"], equation="id,dk->ik")], constants={"w": WEIGHT}),
}


@pytest.mark.parametrize("name", PROVED)
def test_graphs_that_prove_their_rows_independent(name: str) -> None:
    built = PROVED[name]
    axes = [axis.dim_param or axis.dim_value for axis in built.graph.input[0].type.tensor_type.shape.dim]
    assert changes(built, axes) is False, "the example itself is wrong"
    assert verdict_of(built).word is Word.INDEPENDENT, verdict_of(built)


def test_what_depends_on_the_number_of_rows_is_not_proved() -> None:
    nodes = [
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Cast", ["n"], ["f"], to=T.FLOAT),
        node("Div", ["x", "f"], ["y"]),
    ]
    assert changes(model(nodes), ("batch", 4))
    assert verdict_of(model(nodes)).word is Word.UNKNOWN


def test_a_constant_with_a_value_for_each_place_is_not_proved() -> None:
    built = model([node("Add", ["x", "c"], ["y"])], constants={"c": RANDOM.standard_normal((3, 4)).astype(np.float32)})
    assert verdict_of(built).word is Word.UNKNOWN


@pytest.mark.parametrize(
    ("scales", "word"), [([2.0, 1.0, 2.0, 2.0], Word.UNKNOWN), ([1.0, 1.0, 2.0, 2.0], Word.INDEPENDENT)]
)
def test_a_resize_of_the_batch_itself_is_not_proved(scales: list[float], word: Word) -> None:
    built = model([node("Resize", ["x", "", "s"], ["y"], mode="nearest")], PICTURE, {"s": np.array(scales, np.float32)})
    assert changes(built, PICTURE) is (word is not Word.INDEPENDENT)
    assert verdict_of(built).word is word


def test_a_place_that_is_the_number_of_rows_is_not_proved() -> None:
    nodes = [node("Shape", ["x"], ["n"], start=0, end=1), node("Gather", ["x", "n"], ["y"], axis=1)]
    assert verdict_of(model(nodes)).word is Word.UNKNOWN


def test_an_operator_that_nobody_knows_is_left_to_the_warm_up() -> None:
    assert verdict_of(model([node("Foo", ["x"], ["y"], domain="own")])).word is Word.UNKNOWN
