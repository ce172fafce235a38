"""Gemm without alpha and beta: y = alpha * A B + beta * C with both factors folded into constants.

The library takes the product's scale for that of its inputs alone: an alpha of 0.1 costs 28 dB. A factor whose operand
is no constant cannot be folded; such a node is named, and stays in float.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize.graph import walk

if TYPE_CHECKING:
    import onnx

FACTORS = ("alpha", "beta")


def fold(model: "onnx.ModelProto") -> list[str]:
    """Fold in place; returns the names of the nodes that keep a factor."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    taken, left = walk.names(model.graph), []
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.domain not in {"", "ai.onnx"}:
            continue
        alpha, beta = (float(walk.attribute(node, name, 1.0)) for name in FACTORS)
        if alpha == 1.0 and (beta == 1.0 or _without_bias(node)):
            continue
        foldable = [(1, alpha)] if alpha != 1.0 else []
        foldable += [(2, beta)] if beta != 1.0 and not _without_bias(node) else []
        if any(not _float(constants.get(node.input[place])) for place, _ in foldable):
            left.append(node.name)
            continue
        for place, factor in foldable:
            node.input[place] = _scaled(model, constants, node.input[place], factor, taken)
        kept = [each for each in node.attribute if each.name not in FACTORS]
        del node.attribute[:]
        node.attribute.extend(kept)
    return left


def _without_bias(node: Any) -> bool:
    return len(node.input) < 3 or not node.input[2]


def _float(tensor: Any) -> bool:
    return tensor is not None and tensor.data_type in {tensor.FLOAT, tensor.FLOAT16, tensor.DOUBLE}


def _scaled(model: "onnx.ModelProto", constants: dict[str, Any], name: str, factor: float, taken: set[str]) -> str:
    """Name of a scaled copy, since others may read the tensor as it is.

    One that nobody reads is dropped by the preparation.
    """
    from onnx import numpy_helper

    values = numpy_helper.to_array(constants[name])
    scaled = numpy_helper.from_array(values * np.asarray(factor, values.dtype), walk.fresh(f"{name}_scaled", taken))
    model.graph.initializer.append(scaled)
    constants[scaled.name] = model.graph.initializer[-1]
    return str(scaled.name)
