"""Bias correction: rounding weights shifts each output's mean, and the bias can take that back.

Bias correction of Nagel et al. 2019 (Data-Free Quantization, section 4.2): the shift of an output is the sum over its
inputs of (rounded weight - weight) * mean of the input. The means come from calibration samples; padding is taken for
mean too.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize.calibration.observer import Observer

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Means = dict[str, npt.NDArray[np.float64]]

CORRECTED = frozenset({"Conv", "Gemm"})


def channel_means(model: "onnx.ModelProto", batches: Iterable[Mapping[str, "npt.NDArray[Any]"]]) -> "Means":
    """Mean [channels] of every tensor that a layer reads, over all samples and positions."""
    wanted = {node.input[0] for node in model.graph.node if node.op_type in CORRECTED}
    observer, counts = Observer(model, wanted), dict.fromkeys(wanted, 0)
    sums: dict[str, Any] = {}
    for feeds in batches:
        for name, value in observer.values(feeds).items():
            if name in wanted and value.ndim > 1:
                axes = (0, *range(2, value.ndim))
                sums[name] = sums.get(name, 0.0) + value.sum(axis=axes, dtype=np.float64)
                counts[name] += value.size // value.shape[1]
    return {name: np.asarray(total) / counts[name] for name, total in sums.items()}


def corrected(
    model: "onnx.ModelProto", means: "Means", rounded: "Mapping[str, npt.NDArray[Any]]", nodes: Collection[str]
) -> "onnx.ModelProto":
    """A copy in which the biases of `nodes` make up for the `rounded` weights; a shared bias is left as it is."""
    import onnx
    from onnx import numpy_helper

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copied.graph.initializer}
    used = [name for node in copied.graph.node for name in node.input]
    for node in copied.graph.node:
        if node.name not in nodes or len(node.input) < 3 or node.input[0] not in means:
            continue
        weight, bias = constants.get(node.input[1]), constants.get(node.input[2])
        if weight is None or bias is None or weight.name not in rounded or used.count(bias.name) > 1:
            continue
        error = rounded[weight.name].astype(np.float64) - numpy_helper.to_array(weight)
        shift, values = _shift(node, error, means[node.input[0]]), numpy_helper.to_array(bias)
        if shift is not None and values.shape == shift.shape:
            bias.CopyFrom(numpy_helper.from_array((values - shift).astype(values.dtype), bias.name))
    return copied


def _shift(
    node: "onnx.NodeProto", error: "npt.NDArray[np.float64]", mean: "npt.NDArray[np.float64]"
) -> "npt.NDArray[np.float64] | None":
    """Shift of the mean of each output [outputs] by the error of the weights; None where the channels do not match."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    rows = error.T if node.op_type == "Gemm" and not attributes.get("transB", 0) else error
    per_input = rows.reshape(len(rows), rows.shape[1], -1).sum(axis=2)
    groups = attributes.get("group", 1) or 1
    if len(mean) != per_input.shape[1] * groups:
        return None
    per_output = np.repeat(mean.reshape(groups, -1), len(rows) // groups, axis=0)
    result: npt.NDArray[np.float64] = (per_input * per_output).sum(axis=1)
    return result
