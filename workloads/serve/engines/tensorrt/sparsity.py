"""2:4 sparsity of an ONNX file's weights: whether TensorRT is asked for the kernels that skip zeros (SPARSE_WEIGHTS).

Asked of the file, so of whatever made it: a step two-four of a job here, or a stranger's tool. With the flag TensorRT
tries its sparse kernels for layers of that pattern and takes them where they are faster; without, never.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx import external_data, file

if TYPE_CHECKING:
    import numpy.typing as npt

FLAG = "SPARSE_WEIGHTS"
GROUP, KEPT = 4, 2
FIRST = 4096  # elements that are looked at before all of them: a dense weight is told by these


def flags(trt: Any, path: Path) -> tuple[str, ...]:
    """Builder flags for a model's weights; none where this library has no such flag."""
    return (FLAG,) if hasattr(trt.BuilderFlag, FLAG) and found(path) else ()


def found(path: Path) -> bool:
    """Tell whether a product or convolution has weights of which two of each four along the input are zero."""
    graph = file.load(path, own=True).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # Quantized weights reach their layer through a DequantizeLinear.
    behind = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        axis = _axis(node)
        if axis is None or len(node.input) < 2:
            continue
        tensor = constants.get(behind.get(node.input[1], node.input[1]))
        if tensor is not None and len(tensor.dims) >= 2 and _two_four(external_data.values(tensor), axis):
            return True
    return False


def _axis(node: Any) -> int | None:
    """Axis of a weight along which the inputs lie."""
    if node.op_type == "Gemm":
        return 1 if any(each.name == "transB" and each.i for each in node.attribute) else 0
    return {"Conv": 1, "MatMul": -2}.get(node.op_type)


def _two_four(weight: "npt.NDArray[Any]", axis: int) -> bool:
    if weight.shape[axis] % GROUP or not weight.size:
        return False
    rows = np.moveaxis(weight, axis, -1)
    lines = rows.reshape(-1, rows.shape[-1]) if rows.flags.c_contiguous else rows
    first = lines[: max(1, FIRST // rows.shape[-1])]
    return _holds(first) and _holds(lines)


def _holds(rows: "npt.NDArray[Any]") -> bool:
    groups = np.ascontiguousarray(rows).reshape(-1, GROUP)
    # A weight of nothing but zeros is a bias that was never trained, and no pattern.
    return bool((np.count_nonzero(groups, axis=1) <= KEPT).all() and groups.any())
