"""Public issues: graphs of convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.unit.onnx_graphs.graphs import SAMPLES, model, random, value
from tests.unit.onnx_graphs.issues.issue import Issues

make, issue = helper.make_node, Issues()
PICTURES = {"x": random(SAMPLES, 4, 8, 8)}
W = {"w": random(8, 4, 3, 3, seed=1, scale=0.3)}


def pictures(nodes: list[Any], weights: dict[str, Any], y: tuple[Any, ...] = ("n", "c", "h", "w"), **more: Any) -> Any:
    return model(nodes, [value("x", ["n", 4, 8, 8])], [value("y", list(y))], weights, **more)


@issue("onnxruntime 11634: channels shuffled between Split and Concat", PICTURES, 3, slow=True)
def shuffle() -> Any:
    nodes = [
        make("Conv", ["x", "w"], ["a"], "conv", pads=[1] * 4),
        make("Split", ["a"], ["l", "r"], "split", axis=1),
        make("Concat", ["r", "l"], ["j"], "join", axis=1),
        make("Reshape", ["j", "five"], ["k"], "apart"),
        make("Transpose", ["k"], ["t"], "shuffle", perm=[0, 2, 1, 3, 4]),
        make("Reshape", ["t", "four"], ["u"], "together"),
        make("Conv", ["u", "v"], ["y"], "last"),
    ]
    shapes = {"five": np.array([0, 2, 4, 8, 8]), "four": np.array([0, 8, 8, 8])}
    return pictures(nodes, {**W, **shapes, "v": random(4, 8, 1, 1, seed=2)})


@issue("inference-examples 84: a Concat of one input", PICTURES, 3, slow=True)
def concat_of_one() -> Any:
    nodes = [
        make("Concat", ["x"], ["c"], "alone", axis=1),
        make("Conv", ["c", "w"], ["a"], "conv", pads=[1] * 4),
        make("Concat", ["a", "a"], ["y"], "twice", axis=1),
    ]
    return pictures(nodes, dict(W))


@issue("onnx 5098: an optional input left out in the middle", PICTURES, 3, slow=True)
def empty_inputs() -> Any:
    nodes = [
        make("Conv", ["x", "w"], ["a"], "conv", pads=[1] * 4),
        make("Clip", ["a", "", "six"], ["b"], "clip"),
        make("Resize", ["b", "", "scales"], ["y"], "resize", mode="nearest"),
    ]
    return pictures(nodes, {**W, "six": np.float32(6), "scales": np.array([1, 1, 2, 2], np.float32)})


@issue("onnxruntime 5586: a Clip without bounds", PICTURES, 3, slow=True)
def clip_without_bounds() -> Any:
    nodes = [
        make("Conv", ["x", "w"], ["a"], "conv"),
        make("Clip", ["a"], ["b"], "clip"),
        make("Relu", ["b"], ["y"], "r"),
    ]
    return pictures(nodes, dict(W))


@issue("nncf 1936: one Concat for two convolutions, one bias", PICTURES, 2)
def one_concat_for_two() -> Any:
    nodes = [
        make("Concat", ["x", "x"], ["c"], "join", axis=1),
        make("Conv", ["c", "v1", "bias"], ["a"], "one"),
        make("Conv", ["c", "v2"], ["b"], "two"),
        make("Add", ["a", "b"], ["y"], "sum"),
    ]
    weights = {"v1": random(6, 8, 1, 1, seed=1), "v2": random(6, 8, 1, 1, seed=2), "bias": random(6, seed=3)}
    return pictures(nodes, weights)


@issue("a bias that two convolutions of other scales share", PICTURES, 3, slow=True)
def shared_bias() -> Any:
    nodes = [
        make("Conv", ["x", "v1", "bias"], ["a"], "one", pads=[1] * 4),
        make("Relu", ["a"], ["r"], "relu"),
        make("Conv", ["r", "v2", "bias"], ["y"], "two", pads=[1] * 4),
    ]
    weights = {
        "v1": random(8, 4, 3, 3, seed=1),
        "v2": random(8, 8, 3, 3, seed=2, scale=0.01),
        "bias": random(8, seed=3),
    }
    return pictures(nodes, weights)


@issue("a channel of zeros, and one of tiny weights", PICTURES, 3)
def zero_channel() -> Any:
    weight = W["w"].copy()
    weight[0], weight[1] = 0.0, 1e-7
    nodes = [make("Conv", ["x", "w", "bias"], ["y"], "conv", pads=[1] * 4)]
    return pictures(nodes, {"w": weight, "bias": np.array([1, 50, *[0.1] * 6], np.float32)})


@issue("a convolution whose weight is computed", PICTURES, 0, slow=True)
def computed_weight() -> Any:
    nodes = [
        make("Mul", ["w", "scale"], ["v"], "standardise"),
        make("GlobalAveragePool", ["x"], ["p"], "pool"),
        make("ReduceMean", ["p"], ["m"], "mean", axes=[0, 1, 2, 3], keepdims=0),
        make("Mul", ["v", "m"], ["u"], "by the input"),
        make("Conv", ["x", "v"], ["a"], "conv"),
        make("Relu", ["a"], ["y"], "relu"),
    ]
    return pictures(nodes[:1] + nodes[4:], {**W, "scale": np.float32(0.5)})


@issue("a convolution along one axis, and one along three", {"x": random(SAMPLES, 4, 12)}, 3, slow=True)
def one_axis() -> Any:
    nodes = [
        make("Conv", ["x", "w"], ["a"], "one", auto_pad="SAME_UPPER"),
        make("Unsqueeze", ["a", "axes"], ["b"], "wide"),
        make("Conv", ["b", "v"], ["y"], "three"),
    ]
    weights = {"w": random(8, 4, 9, seed=1), "v": random(4, 8, 1, 1, 9, seed=2), "axes": np.array([2, 3])}
    return model(nodes, [value("x", ["n", 4, 12])], [value("y", ["n", 4, 1, 1, 4])], weights)


@issue("a MaxPool that gives its indices, too, and PRelu", PICTURES, 3, slow=True)
def pool_with_indices() -> Any:
    nodes = [
        make("Conv", ["x", "w"], ["a"], "conv", pads=[1] * 4),
        make("PRelu", ["a", "slope"], ["p"], "prelu"),
        make("MaxPool", ["p"], ["m", "places"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        make("MaxUnpool", ["m", "places"], ["y"], "unpool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return pictures(nodes, {**W, "slope": random(8, 1, 1, seed=4)})


@pytest.mark.parametrize("name", issue.cases())
def test_it_ends_in_candidates_that_answer_as_the_float_model(tmp_path: Path, name: str) -> None:
    issue.check(tmp_path, name)
