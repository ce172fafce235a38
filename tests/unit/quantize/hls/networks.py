"""Small networks for circuits: fitted without an optimiser, so that they are made in a moment and always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from sklearn.datasets import load_digits

from tests.unit.onnx_graphs.graphs import model, random, value

FPGA = {"part": "xc7z020clg400-1"}


def digits() -> tuple[Any, Any]:
    """Pictures [n, 64] between 0 and 1, and their classes."""
    data = load_digits()
    return (data.data / 16).astype(np.float32), data.target


def fitted(features: Any, classes: Any) -> Any:
    """Weights [features, 10] of a linear classifier, by least squares."""
    wanted = np.eye(10)[classes] * 2 - 1
    square = features.T @ features + np.eye(features.shape[1])
    return np.linalg.solve(square, features.T @ wanted).astype(np.float32)


def dense(hidden: int = 32) -> Any:
    """64 -> hidden -> 10, right on about nine of ten digits."""
    x, y = digits()
    first, shift = random(64, hidden, seed=1, scale=0.5), random(hidden, seed=2, scale=0.2)
    second = fitted(np.maximum(x[:1200] @ first + shift, 0), y[:1200])
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {"w1": first, "b1": shift, "w2": second}
    return model(nodes, [value("x", ["n", 64])], [value("y", ["n", 10])], weights)


def convolutional() -> Any:
    """A convolution, pools and a dense layer over pictures of 8 x 8, with a normalisation and a Softmax."""
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w"], ["l"], "dense", transB=1, alpha=2.0),
        helper.make_node("Softmax", ["l"], ["y"], "soft", axis=1),
    ]
    weights = {
        "k": random(4, 2, 3, 3, seed=1),
        "b": random(4, seed=2),
        "s": np.abs(random(4, seed=3)) + 0.5,
        "t": random(4, seed=4),
        "m": random(4, seed=5),
        "v": np.abs(random(4, seed=6)) + 0.5,
        "w": random(3, 4, seed=7, scale=4.0),
    }
    return model(nodes, [value("x", ["n", 2, 8, 8])], [value("y", ["n", 3])], weights)


def pictures(count: int) -> Any:
    """Pictures [count, 2, 8, 8] that differ in what their channels are on the whole."""
    return random(count, 2, 1, 1, seed=8) * 2 + random(count, 2, 8, 8, seed=9, scale=0.5)


def saved(folder: Path, graph: Any, feeds: Any, labels: Any = None) -> tuple[Path, dict[str, Any]]:
    """A file of the model, and a reference to a file of its data."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, folder / "model.onnx")
    np.savez(folder / "data.npz", **{"x": feeds, **({} if labels is None else {"labels": labels})})
    return folder / "model.onnx", {"uri": (folder / "data.npz").as_uri()}
