"""Smaller floats instead of integers: FP16 by ONNX Runtime's converter, and FP8 (E4M3) Q/DQ for TensorRT."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.quantize.calibration.scale import INT8

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

E4M3_LARGEST = 448.0
OPSET_OF_FP8 = 19
WEIGHT_SUFFIX = "_quantized"  # what the library calls the integers of a weight


def half(model: "onnx.ModelProto", excluded: Sequence[str]) -> "onnx.ModelProto":
    """Weights and arithmetic in FP16, inputs and outputs as before; `excluded` nodes stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    converted: onnx.ModelProto = convert_float_to_float16(
        copied, keep_io_types=True, disable_shape_infer=True, node_block_list=list(excluded)
    )
    return converted


def float8(model: "onnx.ModelProto", int8: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same Q/DQ pairs as an int8 model's, in E4M3: the largest integer's number becomes the largest float's.

    `int8` must be symmetric, as it is for TensorRT: E4M3 has no zero point. Weights are rounded anew from `model`.
    """
    from onnx import numpy_helper, version_converter

    constants = {tensor.name: tensor for tensor in int8.graph.initializer}
    given = {tensor.name: tensor for tensor in model.graph.initializer}
    scales: set[str] = set()
    for node in int8.graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        if numpy_helper.to_array(zero).any():
            raise BadInput(f"{node.name}: FP8 has no zero point, and this range is not symmetric")
        if scale.name not in scales:
            scales.add(scale.name)
            values = numpy_helper.to_array(scale) * np.float32(INT8.greatest / E4M3_LARGEST)
            scale.CopyFrom(numpy_helper.from_array(values.astype(np.float32), scale.name))
        weight = constants.get(node.input[0])
        if weight is not None and weight.data_type == weight.INT8:
            original = numpy_helper.to_array(given[weight.name.removesuffix(WEIGHT_SUFFIX)])
            weight.CopyFrom(_rounded(original, numpy_helper.to_array(scale), _axis(node), weight.name))
        zero.CopyFrom(_rounded(np.zeros(tuple(zero.dims), np.float32), np.ones((), np.float32), None, zero.name))
    opset = next(entry for entry in int8.opset_import if entry.domain in {"", "ai.onnx"})
    return int8 if opset.version >= OPSET_OF_FP8 else version_converter.convert_version(int8, OPSET_OF_FP8)


def _axis(node: Any) -> int | None:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)


def _rounded(
    values: "npt.NDArray[np.float32]", scale: "npt.NDArray[np.float32]", axis: int | None, name: str
) -> "onnx.TensorProto":
    """Values as E4M3, the nearest one, never beyond the largest."""
    import ml_dtypes
    from onnx import numpy_helper

    if axis is not None and scale.ndim == 1:
        scale = scale.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    clipped = np.clip(values / scale, -E4M3_LARGEST, E4M3_LARGEST)
    return numpy_helper.from_array(clipped.astype(ml_dtypes.float8_e4m3fn), name)
