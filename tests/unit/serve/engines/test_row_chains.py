"""Random chains of operators: none is proved independent whose rows the runtime sees mixed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.row_graphs import RANDOM, WEIGHT, changes, model, node
from workloads.serve.rows import Word, verdict_of

STEPS = {
    "t102": ("Transpose", {"perm": [1, 0, 2]}, ()),
    "t021": ("Transpose", {"perm": [0, 2, 1]}, ()),
    "t210": ("Transpose", {"perm": [2, 1, 0]}, ()),
    "softmax0": ("Softmax", {"axis": 0}, ()),
    "softmax1": ("Softmax", {"axis": 1}, ()),
    "softmax-1": ("Softmax", {"axis": -1}, ()),
    "max0": ("ReduceMax", {"keepdims": 1}, (np.array([0]),)),
    "max12": ("ReduceMax", {"keepdims": 1}, (np.array([1, -1]),)),
    "cumsum1": ("CumSum", {}, (np.int64(1),)),
    "cumsum0": ("CumSum", {}, (np.int64(0),)),
    "fold": ("Reshape", {}, (np.array([-1, 1, 4]),)),
    "fold3": ("Reshape", {}, (np.array([-1, 3, 4]),)),
    "swap": ("Reshape", {}, (np.array([4, -1, 3]),)),
    "keep": ("Reshape", {}, (np.array([0, 4, -1]),)),
    "flat": ("Reshape", {}, (np.array([1, 1, -1]),)),
    "matmul": ("MatMul", {}, (WEIGHT,)),
    "add": ("Add", {}, (np.ones((3, 4), np.float32),)),
    "add3": ("Add", {}, (RANDOM.standard_normal((3, 1, 1)).astype(np.float32),)),
    "norm1": ("LayerNormalization", {"axis": 1}, (np.ones(1, np.float32),)),
    "slice": ("Slice", {}, (np.array([0]), np.array([1]), np.array([1]))),
    "slice0": ("Slice", {}, (np.array([0]), np.array([1]), np.array([0]))),
    "gather": ("Gather", {"axis": 1}, (np.array([0]),)),
    "dynamic": ("own", {}, ()),
}


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5))
def test_no_graph_is_proved_whose_rows_the_runtime_sees_mixed(names: list[str]) -> None:
    nodes, constants, value = [], {}, "x"
    for number, name in enumerate(names):
        op, attributes, operands = STEPS[name]
        extra = []
        for place, operand in enumerate(operands):
            constants[f"c{number}_{place}"] = np.asarray(operand)
            extra.append(f"c{number}_{place}")
        after = "y" if number == len(names) - 1 else f"v{number}"
        if op == "own":
            nodes.append(node("DynamicQuantizeLinear", [value], [f"q{number}", f"s{number}", f"z{number}"]))
            nodes.append(node("DequantizeLinear", [f"q{number}", f"s{number}", f"z{number}"], [after]))
        else:
            nodes.append(node(op, [value, *extra], [after], **attributes))
        value = after
    built = model(nodes, ("batch", 3, 4), constants)
    try:
        mixed = changes(built, ("batch", 3, 4))
    except Exception:
        return  # shapes that do not fit each other: the runtime has no common base for what it raises
    if mixed:
        assert verdict_of(built).word is not Word.INDEPENDENT, names
