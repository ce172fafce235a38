"""Steps of a random graph's walk: each appends valid nodes that read the pool, and adds what they give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from tests.unit.onnx_graphs.random.walk import NUMPY, TYPES, WIDTHS, Walk


def matmul(walk: Walk) -> None:
    (name, width), wide = walk.source(), walk.one(*WIDTHS)
    walk.end(walk.put("MatMul", [name, walk.constant(width, wide)]), wide)


def gemm(walk: Walk) -> None:
    (name, width), wide = walk.source(), walk.one(*WIDTHS)
    turned = walk.one(0, 1)
    weight = walk.constant(*((wide, width) if turned else (width, wide)))
    shape = walk.one(None, (wide,), (1, wide), (1,), ())
    bias = [] if shape is None else [walk.constant(*shape)]
    if shape is None and walk.one(True, False):
        bias = [""]
    factors = {"alpha": walk.one(1.0, 0.1, -2.0), "beta": walk.one(1.0, 0.0, 3.0)}
    walk.end(walk.put("Gemm", [name, weight, *bias], transB=turned, **factors), wide)


def activation(walk: Walk) -> None:
    name, width = walk.source()
    op = walk.one("Relu", "Sigmoid", "Tanh", "Softmax", "LeakyRelu", "Identity", "Neg", "Elu", "Erf", "Dropout")
    walk.end(walk.put(op, [name], **({"axis": -1} if op == "Softmax" else {})), width)


def clip(walk: Walk) -> None:
    name, width = walk.source()
    least, most = walk.one(("", "6"), ("0", "6"), ("0", ""), ("-1", "1"), ("", ""))
    ends = ["" if end == "" else walk.keep(np.array(float(end)).astype(NUMPY[walk.kind])) for end in (least, most)]
    walk.end(walk.put("Clip", [name, *ends]), width)


def arithmetic(walk: Walk) -> None:
    name, width = walk.source()
    same = [other for other, wide in walk.pool.items() if wide == width]
    other = walk.one(*same, *[walk.constant(*walk.one((width,), (1, width), ()))] * 2)
    walk.end(walk.put(walk.one("Add", "Mul", "Sub", "Max"), [name, other]), width)


def concatenate(walk: Walk) -> None:
    names = [walk.source(), walk.source()]
    walk.end(walk.put("Concat", [name for name, _ in names], axis=1), sum(width for _, width in names))


def nothing(walk: Walk) -> None:
    """A slice without any element, put back on."""
    name, width = walk.source()
    zero = walk.integers(0)
    empty = walk.put("Slice", [name, zero, zero, walk.integers(1)])
    walk.end(walk.put("Concat", [name, empty], axis=1), width)


def convolution(walk: Walk) -> None:
    """[n, k] as k channels of one pixel each, and back."""
    name, width = walk.source()
    image = walk.put("Reshape", [name, walk.integers(-1, width, 1, 1)])
    groups, wide = walk.one(1, width), width * walk.one(1, 2)
    bias = walk.one([], [walk.constant(wide)], [""])
    op, size = walk.one(("Conv", 1), ("Conv", 3), ("ConvTranspose", 1), ("ConvTranspose", 3))
    shape = (wide, width // groups) if op == "Conv" else (width, wide // groups)
    pads = {"pads": [size // 2] * 4, "group": groups}
    grown = walk.put(op, [image, walk.constant(*shape, size, size), *bias], **pads)
    if walk.one(True, False):
        parameters = [walk.constant(wide) for _ in range(3)]
        spread = walk.keep(np.full(wide, 0.7, NUMPY[walk.kind]))
        grown = walk.put("BatchNormalization", [grown, *parameters, spread])
    if walk.one(True, False):
        grown = walk.put(walk.one("Relu", "GlobalAveragePool"), [grown])
    walk.end(walk.put("Flatten", [grown], axis=1), wide)


def branches(walk: Walk) -> None:
    """If: both branches read the outer tensor and outer weights; names inside may hide names elsewhere."""
    (name, width), wide = walk.source(), walk.one(*WIDTHS)
    weight = walk.constant(width, wide)
    answer, inner = walk.one("a", "t1", "inside"), walk.one("b", "w1x")
    bodies = []
    for op in ("Relu", "Neg"):
        nodes = [helper.make_node("MatMul", [name, weight], [inner], "m"), helper.make_node(op, [inner], [answer])]
        bodies.append(walk.body(nodes, [], [(answer, [None, wide])]))
    if walk.one(True, False):
        condition = walk.keep(np.array(walk.one(True, False)))
    else:
        total = walk.put("ReduceSum", [name], keepdims=0)
        condition = walk.put("Less", [total, walk.keep(np.zeros((), NUMPY[walk.kind]))])
    walk.end(walk.put("If", [condition], then_branch=bodies[0], else_branch=bodies[1]), wide)


def loop(walk: Walk) -> None:
    name, width = walk.source()
    weight = walk.constant(width, width)
    bool_info = helper.make_tensor_value_info
    inputs = [
        bool_info("i", TensorProto.INT64, []),
        bool_info("go", TensorProto.BOOL, []),
        bool_info("h", TYPES[walk.kind], [None, width]),
    ]
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("MatMul", ["h", weight], ["p"], "m"),
        helper.make_node("Tanh", ["p"], ["next"]),
    ]
    graph = helper.make_graph(
        nodes,
        "body",
        inputs,
        [bool_info("on", TensorProto.BOOL, []), bool_info("next", TYPES[walk.kind], [None, width])],
    )
    trips = walk.keep(np.array(walk.one(0, 1, 2), np.int64))
    walk.end(walk.put("Loop", [trips, walk.one("", walk.keep(np.array(True))), name], body=graph), width)


def scan(walk: Walk) -> None:
    """Row by row, with an outer constant."""
    name, width = walk.source()
    weight = walk.constant(width)
    row = helper.make_tensor_value_info("row", TYPES[walk.kind], [width])
    body = walk.body([helper.make_node("Add", ["row", weight], ["sum"])], [row], [("sum", [width])])
    walk.end(walk.put("Scan", [name], body=body, num_scan_inputs=1), width)


def other_type(walk: Walk) -> None:
    """Through another float type and back."""
    name, width = walk.source()
    kind = walk.one(*TYPES)
    wide = walk.put("Cast", [name], to=TYPES[kind])
    if kind in {"float64", "float16"}:
        wide = walk.put("MatMul", [wide, walk.keep(np.eye(width, dtype=NUMPY[kind]))])
    walk.end(walk.put("Cast", [wide], to=TYPES[walk.kind]), width)


def recurrent(walk: Walk) -> None:
    """An LSTM over one step, with optional inputs left out."""
    (name, width), wide = walk.source(), walk.one(2, 4)
    steps = walk.put("Reshape", [name, walk.integers(1, -1, width)])
    bias = walk.one("", walk.constant(1, 8 * wide))
    state = walk.one([], ["", ""], [""])
    weights = [walk.constant(1, 4 * wide, width), walk.constant(1, 4 * wide, wide)]
    whole = walk.put("LSTM", [steps, *weights, bias, *state], hidden_size=wide)
    walk.end(walk.put("Reshape", [whole, walk.integers(-1, wide)]), wide)


def normalisation(walk: Walk) -> None:
    name, width = walk.source()
    if walk.opset < 17:
        return activation(walk)
    bias = walk.one([], [""], [walk.constant(width)])
    return walk.end(walk.put("LayerNormalization", [name, walk.constant(width), *bias], axis=-1), width)


def pair(walk: Walk) -> None:
    """A quantized part in a float graph."""
    name, width = walk.source()
    scale, zero = walk.keep(np.array(0.05, np.float32)), walk.keep(np.array(3, np.int8))
    if walk.kind != "float32":
        return
    small = walk.put("QuantizeLinear", [name, scale, zero])
    walk.end(walk.put("DequantizeLinear", [small, scale, zero]), width)


def stranger(walk: Walk) -> None:
    name, width = walk.source()
    op, domain = walk.one(("Gelu", "com.microsoft"), ("FusedMatMul", "com.microsoft"), ("Strange", "com.example"))
    inputs = [name] if op != "FusedMatMul" else [name, walk.constant(width, width)]
    walk.end(walk.put(op, inputs, domain=domain), width)


USUAL: tuple[Callable[[Walk], None], ...] = (matmul, gemm, activation, clip, arithmetic, convolution)
RARE: tuple[Callable[[Walk], None], ...] = (
    concatenate,
    nothing,
    branches,
    loop,
    scan,
    other_type,
    recurrent,
    normalisation,
)
REFUSED: tuple[Callable[[Walk], None], ...] = (pair, stranger)
