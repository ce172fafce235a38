"""Quantization of weights where the library has nothing.

Fewer than 8 bits, and int8 weights under float arithmetic.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.settings import CalibrationMethod
from workloads.onnx import external_data
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.histogram import CHANNEL_BITS
from workloads.quantize.calibration.scale import INT8, Levels, Range, fake_quantize, scale_and_zero_point
from workloads.quantize.calibration.statistics import TensorStatistics
from workloads.quantize.graph import domains, walk

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

SMALLEST = 256  # elements: below, a scale and a node cost more than they save


@dataclass(frozen=True)
class Weight:
    """A constant operand of a matrix product or convolution; `axis` counts the outputs."""

    tensor: Any
    axis: int

    @property
    def values(self) -> "Array":
        """Weight as a numpy array; a view of the file where the constant is in one."""
        return external_data.values(self.tensor)


def weights_of(model: "onnx.ModelProto", nodes: Collection[str] | None = None) -> Iterator[Weight]:
    """Float weights, each once, of Conv, ConvTranspose, Gemm and MatMul; of these nodes only, if any are named."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == tensor.FLOAT}
    for node in model.graph.node:
        if node.domain not in domains.ONNX or len(node.input) < 2 or node.input[1] not in constants:
            continue
        tensor = constants[node.input[1]]
        axis = _output_axis(node, len(tensor.dims))
        if axis is None or (nodes is not None and node.name not in nodes):
            continue
        if len(tensor.dims) > 1 and 0 not in tensor.dims:
            yield Weight(constants.pop(tensor.name), axis)


def _output_axis(node: "onnx.NodeProto", rank: int) -> int | None:
    if node.op_type == "Gemm":
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 1
    # A product with a stack of matrices has its outputs in the last axis.
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}.get(node.op_type)


def narrow(
    model: "onnx.ModelProto", bits: int, nodes: Collection[str], *, per_channel: bool
) -> dict[str, list[dict[str, Any]]]:
    """Round the weights of these nodes to `bits` in place, each range with the least squared error.

    Returns ONNX Runtime's TensorQuantOverrides with the same scales: the library then stores exactly these integers.
    """
    from onnx import numpy_helper

    levels = Levels.of(bits, signed=True, symmetric=True)
    overrides: dict[str, list[dict[str, Any]]] = {}
    for weight in weights_of(model, nodes):
        rows, restore = _rows(weight.values, weight.axis if per_channel else None)
        scales = [scale_and_zero_point(found, levels)[0] for found in _searched(rows, levels)]
        rounded = np.stack([fake_quantize(row, scale, 0, levels) for row, scale in zip(rows, scales, strict=True)])
        axis = {"axis": weight.axis} if per_channel else {}
        # In int8 every multiple of the scale up to 127 exists, so rounding again changes nothing.
        overrides[weight.tensor.name] = [
            {"scale": np.array(scale, np.float32), "zero_point": np.array(0, np.int8), **axis} for scale in scales
        ]
        weight.tensor.CopyFrom(numpy_helper.from_array(restore(rounded), weight.tensor.name))
    return overrides


def rounded(model: "onnx.ModelProto", bits: int, nodes: Collection[str], *, reduced: bool) -> dict[str, "Array"]:
    """Rounded values of these nodes' weights, per channel, by name: as `narrow`, or as the library for 8 bits."""
    import onnx

    if bits < 8:
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        narrow(copied, bits, nodes, per_channel=True)
        return {weight.tensor.name: weight.values for weight in weights_of(copied, nodes)}
    levels, result = Levels.of(8, signed=True, symmetric=True, reduced=reduced), {}
    for weight in weights_of(model, nodes):
        rows, restore = _rows(weight.values, weight.axis)
        scales = [scale_and_zero_point(Range(float(row.min()), float(row.max())), levels)[0] for row in rows]
        pairs = zip(rows, scales, strict=True)
        result[weight.tensor.name] = restore(np.stack([fake_quantize(row, scale, 0, levels) for row, scale in pairs]))
    return result


def _searched(rows: "Array", levels: Levels) -> list[Any]:
    statistics = TensorStatistics(len(rows), CHANNEL_BITS)
    statistics.add(rows)
    return [ranges.find(statistics, CalibrationMethod.MSE, levels, 100.0, row) for row in range(len(rows))]


def _rows(values: "Array", axis: int | None) -> tuple["Array", Any]:
    """Values as [channels, n], and the way back."""
    if axis is None:
        return values.reshape(1, -1), lambda rows: rows.reshape(values.shape)
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1), lambda rows: np.ascontiguousarray(
        np.moveaxis(rows.reshape(moved.shape), 0, axis)
    )


def _slices(weight: Weight) -> "Iterator[Array]":
    """The weight in slices of its first axis, each mapped anew, so that what was read is not kept."""
    length, values = weight.tensor.dims[0], weight.values
    step = max(1, external_data.PART // max(1, values.nbytes // length))
    for begin in range(0, length, step):
        yield weight.values[begin : begin + step] if step < length else values


def _scales(weight: Weight) -> "Array":
    """float32 [channels]: the largest magnitude of each over the greatest integer."""
    others = tuple(axis for axis in range(len(weight.tensor.dims)) if axis != weight.axis)
    peaks = [np.maximum(part.max(axis=others), -part.min(axis=others)) for part in _slices(weight)]
    largest = np.concatenate(peaks) if weight.axis == 0 else np.max(peaks, axis=0)
    return np.maximum(largest / INT8.greatest, np.finfo(np.float32).tiny).astype(np.float32)


def _integers(weight: Weight, scales: "Array") -> "Iterator[Array]":
    """int8 slices of the first axis."""
    shape, begin = [1] * len(weight.tensor.dims), 0
    shape[weight.axis] = -1
    for part in _slices(weight):
        own = scales[begin : begin + len(part)] if weight.axis == 0 else scales
        begin += len(part)
        yield np.clip(np.rint(part / own.reshape(shape)), INT8.least, INT8.greatest).astype(np.int8)


def weight_only_int8(
    model: "onnx.ModelProto", nodes: Collection[str], writer: "external_data.Writer | None" = None
) -> int:
    """Store these nodes' weights as int8 with one scale per channel. Returns how many.

    ONNX Runtime fuses DequantizeLinear with the product behind it into a kernel that reads the integers, but for a
    Gemm with a transposed weight: there it would dequantize in each call, so such a weight is stored the other way
    round. With a `writer` the integers go to its file, and no more than a part of a weight is in memory.
    """
    from onnx import TensorProto, helper, numpy_helper

    count, taken = 0, walk.names(model.graph)
    for weight in list(weights_of(model, nodes)):
        name = weight.tensor.name
        if math.prod(weight.tensor.dims) < SMALLEST:
            continue
        scales, axis = _scales(weight), weight.axis
        # A name that is somebody's would be computed with instead: both are drawn anew.
        inputs = [walk.fresh(f"{name}_{part}", taken) for part in ("int8", "scale", "zero")]
        if writer is None:
            integers = np.concatenate([*_integers(weight, scales)])
            if turned := _turned(model, name):
                for node in turned:
                    next(each for each in node.attribute if each.name == "transB").i = 0
                integers, axis = np.ascontiguousarray(integers.T), 1
            small = numpy_helper.from_array(integers, inputs[0])
        else:
            small = TensorProto(name=inputs[0], dims=weight.tensor.dims, data_type=TensorProto.INT8)
            writer.place(small, _integers(weight, scales))
        model.graph.initializer.remove(weight.tensor)
        # A zero point for each channel, though all are 0: where it is left out, ONNX Runtime's exact kernels for CPUs
        # without VNNI (session.x64quantprecision) put a single one in, and refuse that at the first call.
        zeros = numpy_helper.from_array(np.zeros(len(scales), np.int8), inputs[2])
        model.graph.initializer.extend([small, numpy_helper.from_array(scales, inputs[1]), zeros])
        label = walk.fresh(f"{name}_dequantize", taken)
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], label, axis=axis))
        count += 1
    return count


def _turned(model: "onnx.ModelProto", name: str) -> "list[onnx.NodeProto]":
    """The readers of a weight when all of them are Gemm and transpose it, else none."""
    readers = [node for node in walk.nodes(model.graph) if name in node.input]
    gemms = all(
        node.op_type == "Gemm"
        and node.domain in domains.ONNX
        and list(node.input).count(name) == 1
        and node.input[1] == name
        and any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        for node in readers
    )
    shown = any(value.name == name for value in model.graph.output)
    return readers if gemms and not shown else []
