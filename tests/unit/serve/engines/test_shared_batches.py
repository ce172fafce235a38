"""Rows in shared batches: what warm-up finds of a model's rows, and why they are computed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from slipway.api.serving.warmup import WarmUpMode
from tests.unit.serve import onnx_models
from tests.unit.serve.loaded_models import loaded, node, saved
from workloads.serve.errors import Invalid


def test_a_batch_of_one_behind_a_free_axis_is_served_row_by_row(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "to"], ["y"])]
    constants = {"to": np.array([1, 2, 2], np.int64)}
    path = saved(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 2, 2])], constants)
    assert loaded(path, most=1).warm_up.seconds.keys() == {1}
    found = loaded(path)
    assert found.warm_up.largest == 1
    assert any("batches have at most 1 row" in words for words in found.warm_up.warnings)


@pytest.mark.parametrize(("first", "second"), [("unk__6", "unk__7"), ("batch", "Softmaxy_dim_0"), (None, None)])
def test_batches_though_input_and_output_call_their_rows_differently(first: Any, second: Any, tmp_path: Path) -> None:
    path = saved(
        tmp_path / "m.onnx",
        [node("Softmax", ["x"], ["y"])],
        [("x", T.FLOAT, [first, 4])],
        [("y", T.FLOAT, [second, 4])],
    )
    found = loaded(path)
    assert found.model.signature.batched
    assert found.warm_up.independent
    assert found.warm_up.alone == ""


def test_two_inputs_of_different_lengths_are_still_computed_alone(tmp_path: Path) -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("Relu", ["b"], ["z"])]
    inputs = [("a", T.FLOAT, ["n", 2]), ("b", T.FLOAT, ["m", 2])]
    outputs = [("y", T.FLOAT, ["n", 2]), ("z", T.FLOAT, ["m", 2])]
    signature = loaded(saved(tmp_path / "m.onnx", nodes, inputs, outputs)).model.signature
    assert signature.batched
    rows, group = signature.check_shapes(((2, 2), (2, 2)))
    assert (rows, group) == (2, ((2,), (2,)))
    rows, group = signature.check_shapes(((2, 2), (3, 2)))
    assert rows == 3
    assert group is signature.check_shapes(((5, 2), (3, 2)))[1]
    with pytest.raises(Invalid, match="no row in it"):
        signature.check_shapes(((0, 2), (0, 2)))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([("x", T.FLOAT, [2, 4])], "input 'x' has a first axis of the length 2"),
        ([("x", T.FLOAT, ["n", 4]), ("k", T.FLOAT, [])], "input 'k' has no axes"),
    ],
)
def test_why_nothing_is_batched_is_said(inputs: Any, words: str, tmp_path: Path) -> None:
    nodes = [node("Mul", ["x", "k"], ["y"])] if len(inputs) > 1 else [node("Relu", ["x"], ["y"])]
    found = loaded(saved(tmp_path / "m.onnx", nodes, inputs, [("y", T.FLOAT, None)]))
    assert found.warm_up.alone == words
    assert not found.warm_up.independent


def test_an_output_without_a_row_for_each_row_is_not_batched(tmp_path: Path) -> None:
    nodes = [node("NonZero", ["x"], ["y"])]
    found = loaded(saved(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, ["n", 4])], [("y", T.INT64, ["n", "found"])]))
    assert not found.model.signature.batched
    assert "row for each row" in found.warm_up.alone


def dynamic(path: Path) -> str:
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z"], ["i"]),
        node("Cast", ["i"], ["f"], to=T.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    constants = {"w": np.round(weight * 40).astype(np.int8)}
    return saved(path, nodes, [("x", T.FLOAT, ["n", 8])], [("y", T.FLOAT, ["n", 4])], constants)


@pytest.mark.parametrize("mode", list(WarmUpMode))
def test_rows_of_a_dynamically_quantized_model_never_share_a_batch(mode: WarmUpMode, tmp_path: Path) -> None:
    found = loaded(dynamic(tmp_path / "m.onnx"), mode)
    assert not found.warm_up.independent
    assert found.warm_up.alone == "DynamicQuantizeLinear takes its range over the whole batch"


def hidden(path: Path) -> str:
    """Its rows meet in an operator that nobody here can follow: a reshape to the transposed shape and back."""
    nodes = [
        node("Reshape", ["x", "flat"], ["v"]),
        node("Softmax", ["v"], ["s"]),
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["s", "shape"], ["y"]),
    ]
    constants = {"flat": np.array([1, -1], np.int64)}
    return saved(path, nodes, [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], constants)


def test_what_the_graph_does_not_say_is_seen_by_rows_of_different_scale(tmp_path: Path) -> None:
    assert loaded(hidden(tmp_path / "m.onnx")).warm_up.alone == "rows change each other's results: seen at warm-up"


@pytest.mark.parametrize("mode", [WarmUpMode.SHAPES_ONLY, WarmUpMode.NONE])
def test_without_a_comparison_only_a_proof_lets_rows_share_a_batch(mode: WarmUpMode, tmp_path: Path) -> None:
    assert loaded(str(onnx_models.mlp(tmp_path / "a.onnx", (4, 8, 3))), mode).warm_up.independent
    assert not loaded(hidden(tmp_path / "b.onnx"), mode).warm_up.independent
