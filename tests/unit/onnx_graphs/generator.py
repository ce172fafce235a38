"""Random small ONNX graphs, as exporters, optimizers and people write them: a hypothesis strategy.

A graph is a walk: from one input [n, k] each step appends nodes that read tensors of the pool, and adds what they give.
Every step is valid ONNX by itself; what is tried is their company, and the names, types, opsets and ports around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDTHS = (1, 2, 4, 8, 24)
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "bfloat16": TensorProto.BFLOAT16,
}
NUMPY = {**{name: np.dtype(name) for name in TYPES if name != "bfloat16"}, "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@dataclass
class Walk:
    """A graph under construction. `pool`: tensors [n, k] by name, with k."""

    draw: Any
    opset: int
    kind: str
    pool: dict[str, int] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    count: int = 0

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def source(self) -> tuple[str, int]:
        """The newest tensor, mostly."""
        names = list(self.pool)
        name = self.one(names[-1], names[-1], names[-1], *names)
        return name, self.pool[name]

    def constant(self, *shape: int, share: bool = True, scale: float = 0.5) -> str:
        """Random weights: an initializer, one that is there already, or a Constant node."""
        same = [name for name, array in self.constants.items() if array.shape == shape and array.dtype.kind != "i"]
        how = self.one("new", "new", "node", *(["shared"] if share and same else []))
        if how == "shared":
            return str(self.one(*same))
        self.count += 1
        values = np.random.default_rng(self.count).normal(size=shape) * scale
        return self.keep(values.astype(NUMPY[self.kind]), node=how == "node")

    def keep(self, array: Any, *, node: bool = False) -> str:
        name = self.name("w")
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        else:
            self.constants[name] = array
        return name

    def integers(self, *values: int) -> str:
        return self.keep(np.array(values, np.int64), node=self.one(True, False))

    def put(self, op: str, inputs: list[str], **attributes: Any) -> str:
        output = self.name("t")
        self.nodes.append(helper.make_node(op, inputs, [output], self.name("node"), **attributes))
        return output

    def end(self, output: str, width: int) -> None:
        self.pool[output] = width

    def body(self, nodes: list[Any], inputs: list[Any], outputs: list[tuple[str, Any]]) -> Any:
        ports = [helper.make_tensor_value_info(name, TYPES[self.kind], shape) for name, shape in outputs]
        return helper.make_graph(nodes, "body", inputs, ports)


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
    ends = ["" if end == "" else walk.keep(np.array(end, NUMPY[walk.kind])) for end in (least, most)]
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


@st.composite
def graphs(draw: Any) -> Any:
    """A model of one input `x` [n, k]."""
    opset = draw(st.sampled_from((11, 12, 13, 13, 14, 15, 16, 17, 17, 17, 18, 19, 20, 21, 22, 23)))
    kind = draw(st.sampled_from(("float32",) * 9 + tuple(TYPES)))
    walk = Walk(draw, opset, kind)
    walk.pool["x"] = walk.one(*WIDTHS)
    steps = draw(st.lists(st.sampled_from(USUAL * 4 + RARE * 2 + REFUSED[1:]), min_size=1, max_size=6))
    for step in [*steps, *([pair] if draw(st.integers(0, 30)) == 30 else [])]:
        step(walk)
    return finished(walk)


def finished(walk: Walk) -> Any:
    """The model: ports, names, and what is not used."""
    kind, width, batch = TYPES[walk.kind], walk.pool["x"], walk.one("n", "n", "n", None, 3, 1)
    names = [list(walk.pool)[-1], *walk.one([], [], [], [list(walk.pool)[len(walk.pool) // 2]])]
    outputs = [
        helper.make_tensor_value_info(name, kind, walk.one([batch, walk.pool[name]], [None, None], None))
        for name in dict.fromkeys(names)
    ]
    floats = [name for name, array in walk.constants.items() if array.dtype == NUMPY[walk.kind]]
    if floats and walk.one(*[False] * 7, True):
        first = walk.one(*floats)
        outputs.append(helper.make_tensor_value_info(first, kind, walk.constants[first].shape))
    for _ in range(walk.one(0, 0, 1)):
        walk.constant(width, 3, share=False)
    naming = walk.one("own", "own", "none", "same")
    for node in walk.nodes:
        node.name = {"own": node.name, "none": "", "same": "same"}[naming]
    tensors = [numpy_helper.from_array(array, name) for name, array in walk.constants.items()]
    inputs = [helper.make_tensor_value_info("x", kind, [batch, width])]
    if walk.one(*[False] * 5, True):
        inputs += [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in tensors]
    graph = helper.make_graph(walk.nodes, "g", inputs, outputs, tensors)
    opsets = [("", walk.opset), ("com.microsoft", 1), ("com.example", 1)]
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    least = next(ir for opset, ir in ((12, 6), (14, 7), (18, 8), (20, 9), (22, 10), (99, 11)) if walk.opset <= opset)
    return helper.make_model(graph, opset_imports=imports, ir_version=least)


def feeds_of(model: Any, count: int, seed: int = 0) -> Any:
    """Random samples for its input."""
    shape, kind = model.graph.input[0].type.tensor_type.shape, model.graph.input[0].type.tensor_type.elem_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    return np.random.default_rng(seed).normal(size=(count, shape.dim[1].dim_value)).astype(dtype)
