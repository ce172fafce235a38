"""Small ONNX files for tests of the server, written node by node. Also used by the conformance suite and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

OPSET = 18


def write(path: Path, nodes, inputs, outputs, constants: dict[str, np.ndarray] | None = None) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def mlp_weights(sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(7)
    return [
        ((random.standard_normal((before, after)) / np.sqrt(before)).astype(np.float32), np.zeros(after, np.float32))
        for before, after in pairwise(sizes)
    ]


def mlp(path: Path, sizes: Sequence[int] = (256, 1024, 1024, 10)) -> Path:
    """float32 `x` [batch, first] to `y` [batch, last], with ReLU between."""
    nodes, constants, value = [], {}, "x"
    layers = mlp_weights(sizes)
    for place, (weight, bias) in enumerate(layers):
        constants |= {f"w{place}": weight, f"b{place}": bias}
        last = place == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [value, f"w{place}", f"b{place}"], ["y" if last else f"g{place}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{place}"], [f"h{place}"]))
            value = f"h{place}"
    return write(path, nodes, [("x", T.FLOAT, ["batch", sizes[0]])], [("y", T.FLOAT, ["batch", sizes[-1]])], constants)


def mlp_reference(x: np.ndarray, sizes: Sequence[int] = (256, 1024, 1024, 10)) -> np.ndarray:
    layers = mlp_weights(sizes)
    for place, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if place < len(layers) - 1:
            x = np.maximum(x, 0)
    return x


def cnn(path: Path, layers: int, channels: int = 16) -> Path:
    """float32 `x` [batch, 256], a picture of 16 x 16, to `y` [batch, 10], by so many convolutions of 3 x 3."""
    random = np.random.default_rng(7)
    constants = {"shape": np.array([-1, 1, 16, 16]), "head": random.standard_normal((channels, 10), dtype=np.float32)}
    nodes, value, depth = [helper.make_node("Reshape", ["x", "shape"], ["picture"])], "picture", 1
    for place in range(layers):
        weight = random.standard_normal((channels, depth, 3, 3)) / np.sqrt(9 * depth)
        constants[f"w{place}"] = weight.astype(np.float32)
        nodes.append(helper.make_node("Conv", [value, f"w{place}"], [f"c{place}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{place}"], [f"r{place}"]))
        value, depth = f"r{place}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"]))
    return write(path, nodes, [("x", T.FLOAT, ["batch", 256])], [("y", T.FLOAT, ["batch", 10])], constants)


def add_sub(path: Path) -> Path:
    """Triton's example model `simple`: INT32 [batch, 16] twice in, sum and difference out."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    ports = [(name, T.INT32, ["batch", 16]) for name in ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")]
    return write(path, nodes, ports[:2], ports[2:])


def identity(path: Path, kind: int, axes: Sequence[int | str] = ("batch", "length")) -> Path:
    """`x` to `y`, unchanged, of any type and length."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return write(path, [node], [("x", kind, list(axes))], [("y", kind, list(axes))])


def lookup(path: Path) -> Path:
    """INT64 `x` [batch, length] to row x of a table: fails on an index outside 0..9, as an embedding does."""
    table = np.arange(10, dtype=np.float32)
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    axes = ["batch", "length"]
    return write(path, [node], [("x", T.INT64, axes)], [("y", T.FLOAT, axes)], {"table": table})


def detector(path: Path, box: Sequence[float], score: float) -> Path:
    """float32 `image` [batch, 1, 64, 64] to one and the same box of one class, whatever is in the picture."""
    nodes = [
        helper.make_node("Shape", ["image"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "one_four"], ["boxes_shape"], axis=0),
        helper.make_node("Concat", ["batch", "one_one"], ["scores_shape"], axis=0),
        helper.make_node("Expand", ["box", "boxes_shape"], ["boxes"]),
        helper.make_node("Expand", ["score", "scores_shape"], ["scores"]),
    ]
    constants = {
        "one_four": np.array([1, 4], np.int64),
        "one_one": np.array([1, 1], np.int64),
        "box": np.array(box, np.float32).reshape(1, 1, 4),
        "score": np.array(score, np.float32).reshape(1, 1, 1),
    }
    inputs = [("image", T.FLOAT, ["batch", 1, 64, 64])]
    outputs = [("boxes", T.FLOAT, ["batch", 1, 4]), ("scores", T.FLOAT, ["batch", 1, 1])]
    return write(path, nodes, inputs, outputs, constants)


def mixes_rows(path: Path) -> Path:
    """Subtracts the batch's mean: every row changes every other."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    ports = [("x", T.FLOAT, ["batch", 4])], [("y", T.FLOAT, ["batch", 4])]
    return write(path, nodes, *ports, {"axes": np.array([0], np.int64)})


def never_finite(path: Path) -> Path:
    """The logarithm of a negative number."""
    nodes = [
        helper.make_node("Sub", ["x", "two"], ["negative"]),
        helper.make_node("Log", ["negative"], ["y"]),
    ]
    ports = [("x", T.FLOAT, ["batch", 4])], [("y", T.FLOAT, ["batch", 4])]
    return write(path, nodes, *ports, {"two": np.array(2, np.float32)})


def counting(path: Path, token: int, length: int) -> Path:
    """int64 `tokens` [batch, length] to `logits` [batch, 2]: 2.5, and how many of the tokens are this one."""
    nodes = [
        helper.make_node("Equal", ["tokens", "token"], ["same"]),
        helper.make_node("Cast", ["same"], ["ones"], to=T.FLOAT),
        helper.make_node("ReduceSum", ["ones", "axes"], ["count"], keepdims=1),
        helper.make_node("Mul", ["count", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "half"], ["few"]),
        helper.make_node("Concat", ["few", "count"], ["logits"], axis=1),
    ]
    constants = {
        "token": np.array(token, np.int64),
        "axes": np.array([1], np.int64),
        "zero": np.array(0, np.float32),
        "half": np.array(2.5, np.float32),
    }
    ports = [("tokens", T.INT64, ["batch", length])], [("logits", T.FLOAT, ["batch", 2])]
    return write(path, nodes, *ports, constants)


def encoder(path: Path, vocabulary: int, *, masked: bool = True, width: int = 4) -> Path:
    """`input_ids`, `attention_mask` and `token_type_ids` [batch, sequence] to `last_hidden_state` [batch, sequence,
    width] and `score` [batch, 1]. Each token is mixed with the mean of all real ones; not `masked`, of padding as well.
    """
    random = np.random.default_rng(11)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Gather", ["sides", "token_type_ids"], ["side"]),
        helper.make_node("Add", ["words", "side"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=T.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["real" if masked else "given"]),
        *([] if masked else [helper.make_node("Add", ["given", "one"], ["more"])]),
        *([] if masked else [helper.make_node("Clip", ["more", "one", "one"], ["real"])]),
        helper.make_node("Mul", ["embedded", "real"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["real", "axes"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Add", ["embedded", "mean"], ["last_hidden_state"]),
        helper.make_node("Squeeze", ["mean", "axes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["score"]),
    ]
    constants = {
        "table": random.standard_normal((vocabulary, width)).astype(np.float32),
        "sides": random.standard_normal((2, width)).astype(np.float32),
        "head": random.standard_normal((width, 1)).astype(np.float32),
        "axes": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "one": np.array(1, np.float32),
    }
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [(name, T.INT64, ["batch", "sequence"]) for name in names]
    outputs = [("last_hidden_state", T.FLOAT, ["batch", "sequence", width]), ("score", T.FLOAT, ["batch", 1])]
    return write(path, nodes, inputs, outputs, constants)


def yolo(path: Path, layout: str, boxes: Sequence[Sequence[float]], classes: int = 2, size: int = 64) -> Path:
    """float32 `images` [batch, 3, size, size] to `output0` in a YOLO's layout: one box for each of `boxes` (x1, y1, x2,
    y2, score, class), scores times the mean of the picture's middle pixel, and as many empty ones as real models have.
    """
    rows = np.zeros((300, 6) if layout == "yolov10" else (400, (5 if layout == "yolov5" else 4) + classes), np.float32)
    for row, (x1, y1, x2, y2, score, kind) in zip(rows, boxes, strict=False):
        if layout == "yolov10":
            row[:] = (x1, y1, x2, y2, score, kind)
            continue
        row[:4] = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        if layout == "yolov5":
            row[4], row[5 + int(kind)] = score, 1
        else:
            row[4 + int(kind)] = score
    table = rows.T[None] if layout == "yolov8" else rows[None]
    nodes = [
        helper.make_node("Shape", ["images"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "ones"], ["shape"], axis=0),
        helper.make_node("Expand", ["table", "shape"], ["output0"]),
    ]
    constants = {"ones": np.array([1, 1], np.int64), "table": np.ascontiguousarray(table)}
    inputs = [("images", T.FLOAT, ["batch", 3, size, size])]
    return write(path, nodes, inputs, [("output0", T.FLOAT, ["batch", *table.shape[1:]])], constants)


def pixels(path: Path, shape: Sequence[int | str], kind: int = T.FLOAT) -> Path:
    """A picture to itself, flattened: what the model sees."""
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=T.FLOAT),
        helper.make_node("Flatten", ["cast"], ["y"], axis=1),
    ]
    count = int(np.prod([axis for axis in shape[1:] if isinstance(axis, int)]))
    return write(path, nodes, [("x", kind, list(shape))], [("y", T.FLOAT, ["batch", count])])
