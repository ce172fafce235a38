"""Public issues: graphs of matrix products, attention, recurrence and loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit.onnx_graphs.graphs import SAMPLES, model, random, value
from tests.unit.onnx_graphs.issues.issue import Issues

make, issue = helper.make_node, Issues()
INT64 = TensorProto.INT64
ROWS = {"x": random(SAMPLES, 16)}
WIDE = {"w": random(16, 16, seed=1, scale=0.3)}


def rows(nodes: list[Any], weights: dict[str, Any], y: tuple[Any, ...] = ("n", "c"), **more: Any) -> Any:
    return model(nodes, [value("x", ["n", 16])], [value("y", list(y))], weights, **more)


@issue("onnxruntime 13358: a weight behind a Cast", ROWS, 1)
def cast_weight() -> Any:
    nodes = [make("Cast", ["half"], ["w"], "widen", to=TensorProto.FLOAT), make("MatMul", ["x", "w"], ["y"], "product")]
    return rows(nodes, {"half": random(16, 16, seed=1).astype(np.float16)})


@issue("onnxruntime 23600: a tensor of no element in the middle", ROWS, 3)
def empty_in_the_middle() -> Any:
    nodes = [
        make("MatMul", ["x", "w"], ["a"], "product"),
        make("Slice", ["a", "first", "first", "axis"], ["e"], "nothing"),
        make("Concat", ["a", "e"], ["c"], "join", axis=1),
        make("MatMul", ["c", "w"], ["y"], "again"),
    ]
    return rows(nodes, {**WIDE, "first": np.array([0]), "axis": np.array([1])})


@issue(
    "onnxruntime 21277: a table that is a product's weight, too",
    {"x": np.arange(SAMPLES * 6).reshape(SAMPLES, 6) % 40},
    1,
)
def tied() -> Any:
    nodes = [
        make("Gather", ["w", "x"], ["e"], "look"),
        make("Tanh", ["e"], ["t"], "tanh"),
        make("Transpose", ["w"], ["v"], "turn", perm=[1, 0]),
        make("MatMul", ["t", "v"], ["y"], "logits"),
    ]
    return model(nodes, [value("x", ["n", 6], INT64)], [value("y", ["n", 6, 40])], {"w": random(40, 16, seed=1)})


@issue("nncf 4172: one weight through an Identity for each reader", ROWS, 3)
def identities() -> Any:
    nodes = [
        make("Identity", ["w"], ["v1"], "first"),
        make("Identity", ["w"], ["v2"], "second"),
        make("MatMul", ["x", "v1"], ["a"], "one"),
        make("Relu", ["a"], ["b"], "relu"),
        make("MatMul", ["b", "v2"], ["y"], "two"),
    ]
    return rows(nodes, dict(WIDE))


@issue("neural-compressor 1506: names with slashes and patterns", ROWS, 3, slow=True)
def odd_names() -> Any:
    nodes = [
        make("MatMul", ["x", "/post"], ["/a:0"], "/layer.*[0]/MatMul?"),
        make("Relu", ["/a:0"], ["b ü"], "/post"),
        make("MatMul", ["b ü", "/post"], ["y"], "x_quantized"),
    ]
    return rows(nodes, {"/post": WIDE["w"]})


@issue("a Gemm that turns its first operand, a bias of one number", {"x": random(SAMPLES, 16, 4)}, 1)
def turned_gemm() -> Any:
    nodes = [
        make("Reshape", ["x", "flat"], ["f"], "flat"),
        make("Transpose", ["f"], ["t"], "turn", perm=[1, 0]),
        make("Gemm", ["t", "w"], ["g"], "gemm", transA=1),
        make("Gemm", ["g", "v", "c"], ["y"], "scalar bias"),
    ]
    weights = {
        "flat": np.array([-1, 64]),
        "w": random(64, 16, seed=1),
        "v": random(16, 16, seed=2),
        "c": np.float32(0.5),
    }
    return model(nodes, [value("x", ["n", 16, 4])], [value("y", ["n", 16])], weights)


@issue("an LSTM with lengths and peepholes, and a GRU both ways", {"x": random(SAMPLES, 6, 8)}, 1)
def recurrent() -> Any:
    nodes = [
        make("Transpose", ["x"], ["t"], "time first", perm=[1, 0, 2]),
        make("GRU", ["t", "gw", "gr"], ["g", ""], "gru", hidden_size=4, direction="bidirectional"),
        make("Transpose", ["g"], ["gt"], "sides last", perm=[0, 2, 1, 3]),
        make("Reshape", ["gt", "joined"], ["h"], "joined"),
        make("LSTM", ["h", "w", "r", "", "", "", "", "p"], ["", "y0"], "lstm", hidden_size=8),
        make("Squeeze", ["y0", "zero"], ["y"], "squeeze"),
    ]
    weights = {
        "gw": random(2, 12, 8, seed=1, scale=0.4), "gr": random(2, 12, 4, seed=2, scale=0.4),
        "joined": np.array([0, 0, 8]), "w": random(1, 32, 8, seed=3, scale=0.4),
        "r": random(1, 32, 8, seed=4, scale=0.4),
        "p": random(1, 24, seed=5, scale=0.2), "zero": np.array([0]),
    }  # fmt: skip
    return model(nodes, [value("x", ["n", 6, 8])], [value("y", ["n", 8])], weights)


@issue("a scale of 1e4 behind a normalisation", {"x": np.abs(ROWS["x"])}, 3, slow=True)
def large_numbers() -> Any:
    nodes = [
        make("MatMul", ["x", "w"], ["a"], "product"),
        make("LayerNormalization", ["a", "g"], ["b"], "norm"),
        make("Mul", ["b", "many"], ["c"], "scale"),
        make("MatMul", ["c", "w"], ["y"], "again"),
    ]
    return rows(nodes, {**WIDE, "g": random(16, seed=5), "many": np.float32(1e4)})


@issue("an output that a Relu reads on", ROWS, 3)
def outputs_twice() -> Any:
    nodes = [
        make("MatMul", ["x", "w"], ["h"], "product"),
        make("Relu", ["h"], ["r"], "relu"),
        make("MatMul", ["r", "w"], ["y"], "again"),
        make("Identity", ["x"], ["same"], "same"),
    ]
    given = rows(nodes, dict(WIDE))
    given.graph.output.extend([value("h", ["n", 16]), value("same", ["n", 16])])
    return given


@issue("ai.onnx named in full, Dropout with its mask, and doc strings", ROWS, 3, slow=True)
def named_in_full() -> Any:
    nodes = [
        make("MatMul", ["x", "w"], ["a"], "product", domain="ai.onnx", doc_string="x" * 10_000),
        make("Dropout", ["a"], ["b", "mask"], "dropout"),
        make("MatMul", ["b", "w"], ["y"], "again"),
    ]
    given = rows(nodes, dict(WIDE))
    given.opset_import[0].domain = "ai.onnx"
    return given


@issue("onnxruntime 8770: attention with a causal mask of -inf", {"x": random(SAMPLES, 6, 16)}, 4)
def attention(out: float = -np.inf) -> Any:
    mask = np.triu(np.full((6, 6), out, np.float32), 1)
    nodes = [
        *(make("MatMul", ["x", f"w{name}"], [name], f"to_{name}") for name in "qkv"),
        make("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
        make("MatMul", ["q", "kt"], ["s"], "scores"),
        make("Add", ["s", "mask"], ["m"], "masked"),
        make("Softmax", ["m"], ["p"], "soft", axis=-1),
        make("MatMul", ["p", "v"], ["y"], "mix"),
    ]
    weights = {f"w{name}": random(16, 16, seed=seed, scale=0.2) for seed, name in enumerate("qkv")}
    return model(nodes, [value("x", ["n", 6, 16])], [value("y", ["n", 6, 16])], {**weights, "mask": mask})


@issue("attention with a mask of the least number", {"x": random(SAMPLES, 6, 16)}, 4)
def attention_by_numbers() -> Any:
    return attention(float(np.finfo(np.float32).min))


@issue("attention with a mask of -10000", {"x": random(SAMPLES, 6, 16)}, 4)
def attention_by_ten_thousand() -> Any:
    return attention(-10_000.0)


@issue("products inside of a Loop's body, of a weight outside", ROWS, 1)
def loop() -> Any:
    body = helper.make_graph(
        [
            make("MatMul", ["state", "w"], ["p"], "inner"),
            make("Tanh", ["p"], ["next"], "tanh"),
            make("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], INT64), value("go", [], TensorProto.BOOL), value("state", ["n", 16])],
        [value("on", [], TensorProto.BOOL), value("next", ["n", 16])],
    )
    nodes = [
        make("Loop", ["count", "", "x"], ["h"], "loop", body=body),
        make("MatMul", ["h", "v"], ["y"], "product"),
    ]
    return rows(nodes, {**WIDE, "v": random(16, 16, seed=2, scale=0.3), "count": np.array(3)})


@pytest.mark.parametrize("name", issue.cases())
def test_it_ends_in_candidates_that_answer_as_the_float_model(tmp_path: Path, name: str) -> None:
    issue.check(tmp_path, name)
