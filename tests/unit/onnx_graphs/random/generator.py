"""Random small ONNX graphs, as exporters, optimizers and people write them: a hypothesis strategy.

A graph is a walk: from one input [n, k] each step appends nodes that read tensors of the pool, and adds what they give.
Every step is valid ONNX by itself; what is tried is their company, and the names, types, opsets and ports around them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.unit.onnx_graphs.random.steps import RARE, REFUSED, USUAL, pair
from tests.unit.onnx_graphs.random.walk import NUMPY, TYPES, WIDTHS, Walk


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
