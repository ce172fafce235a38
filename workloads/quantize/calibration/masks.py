"""Masks among the activations: what shuts a score out of a Softmax by -inf, or by a number far below all others.

Eight bits hold either the mask or the scores. Left out of the range, a mask is rounded to the least score, and what was
shut out is let in; within it, all scores become one. So the nodes around such a tensor stay in float.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workloads.quantize.calibration.statistics import TensorStatistics

if TYPE_CHECKING:
    import onnx

# Below the largest by so much a score's share of a Softmax is zero in float32 twice over: no score, but a mask.
FAR = 200.0


def nodes_at(model: "onnx.ModelProto", seen: Mapping[str, TensorStatistics]) -> frozenset[str]:
    """Names of the nodes of a prepared model that read or give a tensor with a mask in it."""
    scores = {node.input[0] for node in model.graph.node if node.op_type in {"Softmax", "LogSoftmax"}}
    found = {name for name, tensor in seen.items() if tensor.not_finite or (name in scores and _far(tensor))}
    return frozenset(
        node.name for node in model.graph.node if not found.isdisjoint(node.input) or not found.isdisjoint(node.output)
    )


def _far(tensor: TensorStatistics) -> bool:
    return bool(tensor.count) and float(tensor.maximum.max()) - float(tensor.minimum.min()) > FAR
