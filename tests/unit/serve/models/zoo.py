"""Models as others export them: shapes, names and types that exporters really write, rebuilt node by node.

`ZOO` holds each with inputs that its runtime takes; `refused` says in which words a server must refuse it, and `reason`
why it does although the runtime runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

# fmt: off
# ruff: noqa: E501, PLR0917
RANDOM = np.random.default_rng(11)
ML = "ai.onnx.ml"
node = helper.make_node
value = helper.make_tensor_value_info
Feeds = Mapping[str, np.ndarray]


@dataclass
class Animal:
    """`batched`: whether requests may share a batch; None where that does not matter."""

    make: Callable[[], onnx.ModelProto]
    feeds: Feeds = field(default_factory=dict)
    batched: bool | None = None
    refused: str = ""
    reason: str = ""
    same: bool = True  # as the runtime's: some change with every run
    external: bool = False


ZOO: dict[str, Animal] = {}


def f32(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def texts(*rows: str) -> np.ndarray:
    return np.array([[row.encode()] for row in rows], object)


def build(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Feeds | None = None,
    opset: int = 18,
    ir: int = 9,
    functions: Sequence[Any] = (),
    domains: Sequence[tuple[str, int]] = ((ML, 3), ("com.microsoft", 1), ("own", 1)),
) -> onnx.ModelProto:
    """Unchecked, as exporters leave it. Ports: (name, type, axes), or a finished ValueInfoProto."""
    ports = [[value(*one) if isinstance(one, tuple) else one for one in some] for some in (inputs, outputs)]
    graph = helper.make_graph(
        list(nodes), "g", *ports, [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))


def animal(name: str, *given: Any, feeds: Feeds | None = None, **more: Any) -> None:
    kept = {key: more.pop(key) for key in ("batched", "refused", "reason", "same", "external") if key in more}
    assert name not in ZOO
    ZOO[name] = Animal(lambda: build(*given, **more), feeds or {}, **kept)


WEIGHT = f32(4, 3)
CONV = {"k": f32(2, 3, 3, 3)}
X = {"x": f32(2, 4)}
PICTURE = {"x": f32(1, 3, 64, 64)}

# How exporters name the batch.
animal("tf2onnx: another name for the rows of each tensor", [node("MatMul", ["x", "w"], ["y"])],
       [("x", T.FLOAT, ["unk__6", 4])], [("y", T.FLOAT, ["unk__7", 3])], {"w": WEIGHT}, feeds=X, batched=True)
animal("tf2onnx: pictures with their channels last, transposed inside",
       [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "k"], ["c"]),
        node("ReduceMean", ["c", "hw"], ["y"], keepdims=0)],
       [("x", T.FLOAT, ["unk__3", 8, 8, 3])], [("y", T.FLOAT, ["unk__4", 2])], {**CONV, "hw": np.array([2, 3])},
       feeds={"x": f32(2, 8, 8, 3)}, batched=True)
animal("torch: dynamic_axes of the input only", [node("Softmax", ["x"], ["y"])], [("x", T.FLOAT, ["batch", 4])],
       [("y", T.FLOAT, ["Softmaxy_dim_0", 4])], feeds=X, batched=True)
animal("torch: a batch of one, burnt in", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, [1, 4])],
       [("y", T.FLOAT, [1, 4])], feeds={"x": f32(1, 4)}, batched=False)
animal("torch: an expression for a length", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
       [("x", T.FLOAT, ["s0", 3, "s1", "s2"])], [("y", T.FLOAT, ["s0", 3, "(s1//2)", "floor(s2/2)"])], feeds=PICTURE,
       batched=True)
animal("axes without a name", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, [None, 4])], [("y", T.FLOAT, [None, 4])],
       feeds=X, batched=True)
animal("every axis free", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["a", "b", "c"])],
       [("y", T.FLOAT, ["a", "b", "c"])], feeds={"x": f32(2, 3, 5)}, batched=True)

# What the warm-up of an earlier release refused.
animal("a network for pictures of any size, with five poolings",
       [node("Conv", ["x", "k"], ["p0"]),
        *(node("MaxPool", [f"p{n}"], [f"p{n + 1}"], kernel_shape=[2, 2], strides=[2, 2]) for n in range(5)),
        node("GlobalAveragePool", ["p5"], ["y"])],
       [("x", T.FLOAT, ["n", 3, "h", "w"])], [("y", T.FLOAT, ["n", 2, 1, 1])], CONV, feeds=PICTURE, batched=True)
animal("scikit-learn: one-hot of texts beside numbers",
       [node("OneHotEncoder", ["colour"], ["h"], domain=ML, cats_strings=["red", "green"], zeros=0),
        node("Reshape", ["h", "two"], ["r"]), node("Concat", ["r", "size"], ["y"], axis=1)],
       [("colour", T.STRING, [None, 1]), ("size", T.FLOAT, [None, 1])], [("y", T.FLOAT, [None, 3])],
       {"two": np.array([-1, 2])}, feeds={"colour": texts("red", "green"), "size": f32(2, 1)})
animal("LightGBM: a label that is declared of length 1",
       [node("ArgMax", ["x"], ["label"], axis=1, keepdims=0), node("Softmax", ["x"], ["probabilities"])],
       [("x", T.FLOAT, [None, 4])], [("label", T.INT64, [1]), ("probabilities", T.FLOAT, [1, 4])], feeds=X, batched=True)
animal("XGBoost: a regressor declared for one row", [node("TreeEnsembleRegressor", ["x"], ["variable"], domain=ML,
       n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
       nodes_modes=["BRANCH_LT", "LEAF", "LEAF"], nodes_values=[0.5, 0.0, 0.0], nodes_truenodeids=[1, 0, 0],
       nodes_falsenodeids=[2, 0, 0], nodes_missing_value_tracks_true=[1, 0, 0], target_treeids=[0, 0],
       target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, -1.0])],
       [("x", T.FLOAT, [None, 4])], [("variable", T.FLOAT, [1, 1])], feeds=X, batched=True)
animal("an output without a shape", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, None)],
       feeds=X, batched=True)
animal("an output without a type", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [helper.make_value_info("y", onnx.TypeProto())], feeds=X)
animal("NaN for what was invented", [node("Sub", ["x", "two"], ["d"]), node("Log", ["d"], ["y"])],
       [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], {"two": np.float32(2)},
       feeds={"x": np.abs(f32(2, 4)) + 3})
animal("a reshape to one row behind a free axis", [node("Reshape", ["x", "to"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 2, 2])], {"to": np.array([1, 2, 2])}, feeds={"x": f32(1, 4)})
animal("an output of a wrong rank", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n"])],
       feeds=X)
animal("an output of a wrong length", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 5])], feeds=X, batched=True)

# Shapes.
animal("a scalar beside rows", [node("Mul", ["x", "k"], ["y"])], [("x", T.FLOAT, ["n", 4]), ("k", T.FLOAT, [])],
       [("y", T.FLOAT, ["n", 4])], feeds={**X, "k": np.float32(3)}, batched=False)
animal("scalars alone", [node("Add", ["x", "x"], ["y"])], [("x", T.FLOAT, [])], [("y", T.FLOAT, [])],
       feeds={"x": np.float32(3)}, batched=False)
animal("a sound, whose only axis is its length", [node("Unsqueeze", ["x", "a"], ["u"]), node("Conv", ["u", "k"], ["y"])],
       [("x", T.FLOAT, ["samples"])], [("y", T.FLOAT, None)], {"a": np.array([0, 1]), "k": f32(1, 1, 400)},
       feeds={"x": f32(800)}, batched=False)
animal("tokens with a table of eight places",
       [node("Shape", ["x"], ["s"], start=1), node("Squeeze", ["s"], ["n"]), node("Range", ["zero", "n", "one"], ["p"]),
        node("Gather", ["places", "p"], ["e"]), node("Gather", ["table", "x"], ["t"]), node("Add", ["t", "e"], ["y"])],
       [("x", T.INT64, ["batch", "sequence"])], [("y", T.FLOAT, ["batch", "sequence", 4])],
       {"places": f32(8, 4), "table": f32(30, 4), "zero": np.int64(0), "one": np.int64(1)},
       feeds={"x": np.array([[1, 5, 7], [2, 2, 29]])}, batched=True)
animal("tokens, mask and kinds", [node("Gather", ["table", "ids"], ["e"]), node("Cast", ["mask"], ["m"], to=T.FLOAT),
       node("Unsqueeze", ["m", "last"], ["u"]), node("Mul", ["e", "u"], ["w"]), node("Gather", ["table", "kinds"], ["k"]),
       node("Add", ["w", "k"], ["a"]), node("ReduceMean", ["a", "steps"], ["y"], keepdims=0)],
       [(name, T.INT64, ["batch", "sequence"]) for name in ("ids", "mask", "kinds")], [("y", T.FLOAT, ["batch", 4])],
       {"table": f32(30, 4), "last": np.array([-1]), "steps": np.array([1])},
       feeds={"ids": np.array([[3, 4, 5]]), "mask": np.array([[1, 1, 0]]), "kinds": np.array([[0, 0, 1]])}, batched=True)
animal("boxes, of which there may be none",
       [node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["y"])],
       [("boxes", T.FLOAT, ["n", 5, 4]), ("scores", T.FLOAT, ["n", 1, 5])], [("y", T.INT64, ["found", 3])],
       {"most": np.array([3]), "overlap": np.array([0.5], np.float32), "least": np.array([9.0], np.float32)},
       feeds={"boxes": f32(1, 5, 4), "scores": f32(1, 1, 5)}, batched=False)
animal("a length of zero", [node("Slice", ["x", "a", "b", "axis"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 0])], {"a": np.array([0]), "b": np.array([0]), "axis": np.array([1])}, feeds=X)
animal("lengths declared as 0 and -1", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, [-1, 4])], [("y", T.FLOAT, [-1, 4])],
       feeds=X, batched=True)
animal("six axes", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 1, 2, 1, 2, 3])],
       [("y", T.FLOAT, ["n", 1, 2, 1, 2, 3])], feeds={"x": f32(2, 1, 2, 1, 2, 3)}, batched=True)
animal("a hundred outputs", [node("Relu", ["x"], [f"y{n}"]) for n in range(100)], [("x", T.FLOAT, ["n", 4])],
       [(f"y{n}", T.FLOAT, ["n", 4]) for n in range(100)], feeds=X, batched=True)
animal("recurrent, steps first, with a state that is given",
       [node("RNN", ["x", "W", "R", "", "", "h"], ["y", "last"], hidden_size=3)],
       [("x", T.FLOAT, ["steps", "batch", 4]), ("h", T.FLOAT, [1, "batch", 3])],
       [("y", T.FLOAT, ["steps", 1, "batch", 3]), ("last", T.FLOAT, [1, "batch", 3])],
       {"W": f32(1, 3, 4), "R": f32(1, 3, 3)}, feeds={"x": f32(5, 2, 4), "h": f32(1, 2, 3)}, batched=False)
animal("no inputs", [node("Identity", ["c"], ["y"])], [], [("y", T.FLOAT, [2])], {"c": f32(2)},
       refused="the model has no inputs", reason="a request of the protocol has at least one input")

# Types.
for code, dtype in (
    (T.BOOL, np.bool_), (T.UINT8, np.uint8), (T.INT8, np.int8), (T.UINT16, np.uint16), (T.INT16, np.int16),
    (T.UINT32, np.uint32), (T.INT32, np.int32), (T.UINT64, np.uint64), (T.DOUBLE, np.float64), (T.FLOAT16, np.float16),
):
    animal(f"numbers of the type {np.dtype(dtype).name}", [node("Identity", ["x"], ["y"])], [("x", code, ["n", 4])],
           [("y", code, ["n", 4])], feeds={"x": np.array([[0, 1, 1, 0], [1, 1, 1, 0]]).astype(dtype)}, batched=True)
animal("numbers of the type bfloat16", [node("Identity", ["x"], ["y"])], [("x", T.BFLOAT16, ["n", 4])],
       [("y", T.BFLOAT16, ["n", 4])], feeds={"x": f32(2, 4).astype(ml_dtypes.bfloat16)})
animal("texts", [node("Identity", ["x"], ["y"])], [("x", T.STRING, ["n", 1])], [("y", T.STRING, ["n", 1])],
       feeds={"x": texts("ä", "")}, batched=True)
animal("complex numbers", [node("Identity", ["x"], ["y"])], [("x", T.COMPLEX64, ["n", 4])], [("y", T.COMPLEX64, ["n", 4])],
       refused="complex64", reason="the protocol has no such type")
animal("numbers of 4 bits", [node("Cast", ["x"], ["y"], to=T.FLOAT)], [("x", T.INT4, ["n", 4])], [("y", T.FLOAT, ["n", 4])],
       opset=21, ir=10, refused="int4", reason="the protocol has no such type")
animal("numbers of 8 bits with a point", [node("Cast", ["x"], ["y"], to=T.FLOAT)], [("x", T.FLOAT8E4M3FN, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], opset=19, refused="float8e4m3fn", reason="the protocol has no such type")
animal("scikit-learn: probabilities in a ZipMap",
       [node("LinearClassifier", ["x"], ["label", "p"], domain=ML, classlabels_ints=[0, 1], coefficients=[1.0] * 8,
             intercepts=[0.0, 0.0], post_transform="SOFTMAX"),
        node("ZipMap", ["p"], ["probabilities"], domain=ML, classlabels_int64s=[0, 1])],
       [("x", T.FLOAT, [None, 4])], [("label", T.INT64, [None]), helper.make_value_info("probabilities",
       helper.make_sequence_type_proto(helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))))],
       refused="zipmap=False", reason="the protocol has tensors only")
animal("a sequence comes out", [node("SplitToSequence", ["x"], ["y"], axis=0)], [("x", T.FLOAT, ["n", 4])],
       [helper.make_tensor_sequence_value_info("y", T.FLOAT, None)], refused="seq(tensor(float))",
       reason="the protocol has tensors only")
animal("a sequence goes in", [node("ConcatFromSequence", ["x"], ["y"], axis=0)],
       [helper.make_tensor_sequence_value_info("x", T.FLOAT, None)], [("y", T.FLOAT, ["n", 4])],
       refused="seq(tensor(float))", reason="the protocol has tensors only")
animal("something optional goes in", [node("OptionalGetElement", ["x"], ["y"])],
       [helper.make_value_info("x", helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, ["n", 4])))],
       [("y", T.FLOAT, ["n", 4])], refused="optional(tensor(float))", reason="the protocol has tensors only")

# Names.
animal("TensorFlow's names", [node("Relu", ["serving_default_x:0"], ["PartitionedCall:0"])],
       [("serving_default_x:0", T.FLOAT, ["unk__1", 4])], [("PartitionedCall:0", T.FLOAT, ["unk__2", 4])],
       feeds={"serving_default_x:0": f32(2, 4)}, batched=True)
animal("names of other alphabets, with spaces and slashes", [node("Relu", ["输入 a/b"], ["Ausgabe ä"])],
       [("输入 a/b", T.FLOAT, ["n", 4])], [("Ausgabe ä", T.FLOAT, ["n", 4])], feeds={"输入 a/b": f32(2, 4)}, batched=True)
animal("a name of 300 characters", [node("Relu", ["x" * 300], ["y"])], [("x" * 300, T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], feeds={"x" * 300: f32(2, 4)}, batched=True)
animal("an output of the input's name", [], [("x", T.FLOAT, ["n", 4])], [("x", T.FLOAT, ["n", 4])], feeds=X)
animal("an optional operand that is left out", [node("Clip", ["x", "", "most"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], {"most": np.float32(0)}, feeds=X, batched=True)

# Ages.
animal("weights among the inputs, as in IR 3", [node("MatMul", ["x", "w"], ["y"])],
       [("x", T.FLOAT, ["n", 4]), ("w", T.FLOAT, [4, 3])], [("y", T.FLOAT, ["n", 3])], {"w": WEIGHT}, opset=8, ir=3,
       domains=(), feeds=X, batched=True)
animal("weights that callers may replace", [node("MatMul", ["x", "w"], ["y"])],
       [("x", T.FLOAT, ["n", 4]), ("w", T.FLOAT, [4, 3])], [("y", T.FLOAT, ["n", 3])], {"w": WEIGHT}, feeds=X, batched=True)
animal("opset 7, with a softmax over two axes", [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["n"]),
       node("Flatten", ["n"], ["f"]), node("Softmax", ["f"], ["y"], axis=1)],
       [("x", T.FLOAT, ["n", 2, 3])], [("y", T.FLOAT, ["n", 6])],
       {name: np.ones(2, np.float32) for name in "sbmv"}, opset=7, ir=3, domains=(), feeds={"x": f32(2, 2, 3)}, batched=True)
animal("opset 9, with what has gone since", [node("Upsample", ["x", "scales"], ["y"], mode="nearest")],
       [("x", T.FLOAT, ["n", 1, 2, 2])], [("y", T.FLOAT, ["n", 1, 4, 4])],
       {"scales": np.array([1, 1, 2, 2], np.float32)}, opset=9, ir=4, domains=(), feeds={"x": f32(1, 1, 2, 2)}, batched=True)
animal("an opset of the future", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])],
       opset=900, refused="opset")
animal("an IR of the future", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], ir=90,
       refused="IR version")
animal("an operator of somebody's own", [node("Foo", ["x"], ["y"], domain="own")], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], refused="Foo")
animal("a function of its own", [node("Twice", ["x"], ["y"], domain="own")], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], functions=[helper.make_function("own", "Twice", ["a"], ["b"],
       [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)])], feeds=X, batched=True)
animal("weights in a file of their own", [node("MatMul", ["x", "w"], ["y"])], [("x", T.FLOAT, ["n", 400])],
       [("y", T.FLOAT, ["n", 3])], {"w": f32(400, 3)}, feeds={"x": f32(2, 400)}, batched=True, external=True)

# Rows that change each other, by construction.
animal("dynamic quantization", [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
       node("DequantizeLinear", ["q", "s", "z"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], feeds=X,
       batched=False)
animal("a batch norm that was exported in training", [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "a", "c"],
       training_mode=1)], [("x", T.FLOAT, ["n", 2, 3])], [("y", T.FLOAT, ["n", 2, 3])],
       {name: np.ones(2, np.float32) for name in "sbmv"}, feeds={"x": f32(4, 2, 3)}, batched=False, same=False)
animal("noise", [node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])], [("x", T.FLOAT, ["n", 4])],
       [("y", T.FLOAT, ["n", 4])], feeds=X, same=False)
animal("a choice for the whole batch", [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "c"], ["b"]),
       node("If", ["b"], ["y"],
            then_branch=helper.make_graph([node("Add", ["x", "x"], ["t"])], "t", [], [value("t", T.FLOAT, None)]),
            else_branch=helper.make_graph([node("Relu", ["x"], ["e"])], "e", [], [value("e", T.FLOAT, None)]))],
       [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], {"c": np.float32(1)}, feeds=X, batched=False)
