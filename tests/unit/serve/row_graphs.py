"""ONNX graphs from `x` to `y`, and whether the runtime sees their rows change each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

MS, ML = "com.microsoft", "ai.onnx.ml"
RANDOM = np.random.default_rng(3)
WEIGHT = RANDOM.standard_normal((4, 4)).astype(np.float32)
ONE = np.array([1], np.int64)
node = helper.make_node


def model(
    nodes: Sequence[Any],
    axes: Sequence[int | str] = ("batch", 4),
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 18,
    kind: int = T.FLOAT,
    functions: Sequence[Any] = (),
) -> onnx.ModelProto:
    """`x` to `y`; the output's shape is left open."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, list(axes))],
        [helper.make_tensor_value_info("y", T.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", opset), (MS, 1), (ML, 3), ("own", 1))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def changes(built: onnx.ModelProto, axes: Sequence[int | str]) -> bool | None:
    """Whether the runtime gives a row something else beside others; None when it does not run rows together."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(built.SerializeToString(), options)
    shape = [3, *(axis if isinstance(axis, int) else 3 for axis in axes[1:])]
    rows = np.random.default_rng(1).standard_normal(shape) * np.array([1, 50, 0.1]).reshape(3, *[1] * (len(shape) - 1))
    rows = rows.astype(np.float32)
    try:
        together = session.run(None, {"x": rows})[0]
        alone = [session.run(None, {"x": rows[i : i + 1]})[0] for i in range(3)]
    except Exception:  # the runtime has no common base for what it raises: these rows cannot be compared
        return None
    if together.shape[:1] != (3,) or any(one.shape != (1, *together.shape[1:]) for one in alone):
        return True
    return not all(np.allclose(together[i : i + 1], alone[i], rtol=1e-3, atol=1e-5, equal_nan=True) for i in range(3))
