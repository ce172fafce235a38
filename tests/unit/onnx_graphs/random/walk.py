"""A random graph under construction: its pool of tensors, its constants, and how a node is put."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
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
