"""Layers of an ONNX graph that is a chain: what hls4ml can build, read off the graph, or the words why it cannot.

Read from ONNX, and not from torch, so that an artifact and a stranger's file go the same way, simplified alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.onnx import file

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

WEIGHTS = 500_000  # of a network: each is a number in a C++ header, and a multiplication of the circuit
SAME = frozenset({"Identity", "Dropout"})
ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softmax"})
POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"})
FLAT = frozenset({"Flatten", "Reshape", "Squeeze"})
DENSE = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True)
class Layer:
    """One layer. Shapes without the batch; `weight` as torch has it: [out, in, ...]; `output`: the tensor's name."""

    name: str
    op: str
    output: str
    given: tuple[int, ...]
    gives: tuple[int, ...]
    weight: "npt.NDArray[np.float32] | None" = None
    bias: "npt.NDArray[np.float32] | None" = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def products(self) -> tuple[int, int, int]:
        """Inputs and outputs of its product, and the positions at which it is made: pixels that stream through it."""
        if self.weight is None:
            raise ValueError(f"{self.name} has no weights")
        outputs, inputs = self.weight.shape[0], prod(self.weight.shape[1:])
        pads = self.attributes.get("pads", ())
        sides = [length + 2 * pad for length, pad in zip(self.given[1:], pads, strict=False)]
        return inputs, outputs, prod(sides) if self.op == "Conv" else 1


@dataclass(frozen=True)
class Chain:
    """The network. `input`: name of the tensor that it reads; `shape`: of one sample."""

    input: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def weighted(self) -> list[Layer]:
        """Layers with multipliers."""
        return [layer for layer in self.layers if layer.weight is not None]

    @property
    def streams(self) -> bool:
        """Tell whether pixels stream through it one by one, as convolutions need."""
        return len(self.shape) > 1


def chain_of(model: "onnx.ModelProto") -> Chain:
    """The layers in order. BadInput for a graph that is no chain of layers that hls4ml can build, naming the first."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs, outputs = file.inputs_of(model), file.outputs_of(model)
    if len(inputs) != 1 or len(outputs) != 1:
        raise _no(f"it has {len(inputs)} inputs and {len(outputs)} outputs, and a circuit here has one of each")
    port = inputs[0]
    if port.dtype != "float32" or not 2 <= len(port.shape) <= 4 or None in port.shape[1:]:
        raise _no(
            f"its input {port.name} is {port.dtype} {list(port.shape)}: a circuit takes float32 [n, ...] of a size"
        )
    shape = tuple(int(axis) for axis in port.shape[1:] if axis is not None)
    reader = _Reader(constants, shape)
    at = port.name
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
            continue
        used = [name for name in node.input if name and name not in constants]
        if used != [at] or node.domain not in {"", "ai.onnx"}:
            raise _no(f"{node.name or node.op_type} ({node.op_type}) reads {', '.join(used)}: it is no chain of layers")
        reader.read(node)
        at = node.output[0]
    if at != outputs[0].name:
        raise _no(f"its output {outputs[0].name} is not what its last layer gives")
    return Chain(port.name, shape, _bounded(reader.layers))


def _bounded(layers: list[Layer]) -> tuple[Layer, ...]:
    weights = sum(layer.weight.size for layer in layers if layer.weight is not None)
    if not weights:
        raise _no("it has no layer with weights")
    if weights > WEIGHTS:
        raise _no(f"it has {weights} weights, and a circuit here has {WEIGHTS} at most: take a smaller network")
    return tuple(layers)


class _Reader:
    """Reads node after node; keeps the shape of what flows."""

    def __init__(self, constants: "Mapping[str, npt.NDArray[Any]]", shape: tuple[int, ...]) -> None:
        self._constants, self._shape = constants, shape
        self._counts: dict[str, int] = {}
        self.layers: list[Layer] = []

    def read(self, node: Any) -> None:
        attributes = {each.name: _value(each) for each in node.attribute}
        for ops, reader in self._readers().items():
            if node.op_type in ops:
                reader(node, attributes)
                return
        raise _no(
            f"{node.name or node.op_type} is {node.op_type}, which has no circuit here ({', '.join(known())} have)"
        )

    def _readers(self) -> "dict[frozenset[str], Callable[[Any, dict[str, Any]], None]]":
        return {
            SAME: self._same,
            DENSE: self._dense,
            frozenset({"Add"}): self._add,
            frozenset({"Conv"}): self._conv,
            frozenset({"BatchNormalization"}): self._norm,
            ACTIVATIONS: self._activation,
            POOLS: self._pool,
            FLAT: self._flat,
        }

    def _put(self, kind: str, node: Any, gives: tuple[int, ...], **known: Any) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        name = f"{kind}{self._counts[kind]}"
        self.layers.append(Layer(name, known.pop("op", node.op_type), node.output[0], self._shape, gives, **known))
        self._shape = gives

    def _same(self, node: Any, attributes: dict[str, Any]) -> None:
        if self.layers:
            self.layers[-1] = _renamed(self.layers[-1], node.output[0])

    def _dense(self, node: Any, attributes: dict[str, Any]) -> None:
        if len(self._shape) != 1 or node.input[1] not in self._constants:
            raise _no(f"{node.name or node.op_type} is no product of one row with constant weights")
        weight = self._constants[node.input[1]].astype(np.float32)
        if weight.ndim != 2:
            raise _no(f"{node.name or node.op_type} has weights of {weight.ndim} axes")
        if node.op_type == "Gemm":
            if attributes.get("transA", 0):
                raise _no(f"{node.name or node.op_type} is a Gemm that transposes what it reads")
            weight = (weight if attributes.get("transB", 0) else weight.T) * np.float32(attributes.get("alpha", 1.0))
        else:
            weight = weight.T
        bias = None
        if len(node.input) > 2 and node.input[2]:
            bias = _row(self._constants[node.input[2]], len(weight)) * np.float32(attributes.get("beta", 1.0))
        self._put("dense", node, (len(weight),), weight=np.ascontiguousarray(weight), bias=bias)

    def _add(self, node: Any, attributes: dict[str, Any]) -> None:
        """The bias of a MatMul."""
        before = self.layers[-1] if self.layers else None
        constant = next((self._constants[name] for name in node.input if name in self._constants), None)
        if before is None or before.op not in DENSE or constant is None or before.bias is not None:
            raise _no(f"{node.name or node.op_type} adds what is no bias of a dense layer")
        bias = _row(constant, before.gives[0])
        self.layers[-1] = _renamed(before, node.output[0], bias=bias)

    def _conv(self, node: Any, attributes: dict[str, Any]) -> None:
        name, weight = node.name or node.op_type, self._constants.get(node.input[1])
        if weight is None or len(self._shape) not in {2, 3}:
            raise _no(f"{name} is no convolution of one or two axes with constant weights")
        if attributes.get("group", 1) != 1 or set(attributes.get("dilations", [1])) != {1}:
            raise _no(f"{name} is a convolution with groups or dilations, which hls4ml cannot build from torch")
        axes = len(self._shape) - 1
        pads, strides = _pads(name, attributes, axes), attributes.get("strides", [1] * axes)
        sides = zip(self._shape[1:], weight.shape[2:], pads, strides, strict=True)
        gives = (len(weight), *((side + 2 * pad - kernel) // stride + 1 for side, kernel, pad, stride in sides))
        bias = self._constants[node.input[2]].astype(np.float32) if len(node.input) > 2 and node.input[2] else None
        known = {"pads": tuple(pads), "strides": tuple(strides)}
        self._put("conv", node, gives, weight=weight.astype(np.float32), bias=bias, attributes=known)

    def _norm(self, node: Any, attributes: dict[str, Any]) -> None:
        """Make a weight and a bias of each channel, folded into the layer before it where that has weights."""
        scale, shift, mean, variance = (self._constants[name].astype(np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        before = self.layers[-1] if self.layers else None
        if before is None or before.weight is None:
            raise _no(f"{node.name or node.op_type} normalises what is not given by a layer with weights")
        weight = before.weight * factor.reshape(-1, *[1] * (before.weight.ndim - 1))
        bias = ((0 if before.bias is None else before.bias) - mean) * factor + shift
        known = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
        self.layers[-1] = _renamed(before, node.output[0], **known)

    def _activation(self, node: Any, attributes: dict[str, Any]) -> None:
        if node.op_type == "Softmax" and (len(self._shape) != 1 or attributes.get("axis", -1) not in {-1, 1}):
            raise _no(f"{node.name or node.op_type} is a Softmax over more than one row of classes")
        self._put(node.op_type.lower(), node, self._shape, attributes=attributes)

    def _pool(self, node: Any, attributes: dict[str, Any]) -> None:
        name, axes = node.name or node.op_type, len(self._shape) - 1
        if axes not in {1, 2}:
            raise _no(f"{name} pools what are no pictures or sequences")
        whole = node.op_type in {"GlobalAveragePool", "ReduceMean"}
        kept = True
        if node.op_type == "ReduceMean":
            given = attributes.get("axes") or [int(axis) for axis in self._constants[node.input[1]].ravel()]
            if {axis % (axes + 2) for axis in given} != set(range(2, axes + 2)):
                raise _no(f"{name} is a mean over other axes than those of the picture")
            kept = bool(attributes.get("keepdims", 1))
        kernel = list(self._shape[1:]) if whole else attributes["kernel_shape"]
        strides = list(kernel) if whole else attributes.get("strides", [1] * axes)
        if set(attributes.get("dilations", [1])) != {1}:
            raise _no(f"{name} pools with dilations, which hls4ml cannot build")
        if not whole and (any(_pads(name, attributes, axes)) or attributes.get("ceil_mode", 0)):
            raise _no(
                f"{name} pools with padding, which hls4ml builds in another way than ONNX: pad before, or do without"
            )
        sides = zip(self._shape[1:], kernel, strides, strict=True)
        gives = (self._shape[0], *((side - size) // stride + 1 for side, size, stride in sides))
        known = {"kernel": tuple(kernel), "strides": tuple(strides)}
        op = "MaxPool" if node.op_type == "MaxPool" else "AveragePool"
        self._put("pool", node, gives, op=op, attributes=known)
        if not kept:
            self._put("flatten", node, (self._shape[0],), op="Flatten")

    def _flat(self, node: Any, attributes: dict[str, Any]) -> None:
        """Flatten to one row of numbers; any other shape is refused."""
        wanted = prod(self._shape)
        if node.op_type == "Reshape":
            target = [int(axis) for axis in self._constants.get(node.input[1], np.zeros(0)).ravel()]
            fine = len(target) == 2 and target[1] in {-1, wanted} and target[0] != wanted
        else:
            fine = node.op_type == "Squeeze" or attributes.get("axis", 1) in {1, -len(self._shape)}
            fine = fine and (node.op_type == "Flatten" or wanted == self._shape[0])
        if not fine:
            raise _no(f"{node.name or node.op_type} is a {node.op_type} to another shape than one row")
        if len(self._shape) == 1:
            self._same(node, attributes)
        else:
            self._put("flatten", node, (wanted,), op="Flatten")


def known() -> list[str]:
    """Operators that have a circuit."""
    return sorted({*SAME, *DENSE, *ACTIVATIONS, *POOLS, *FLAT, "Conv", "BatchNormalization"})


def _renamed(layer: Layer, output: str, **known: Any) -> Layer:
    return replace(layer, output=output, **known)


def _row(values: "npt.NDArray[Any]", length: int) -> "npt.NDArray[np.float32]":
    if values.size not in {1, length}:
        raise _no(f"a bias has {values.size} numbers for {length} outputs")
    return np.array(np.broadcast_to(values.reshape(-1).astype(np.float32), (length,)))


def _pads(name: str, attributes: Mapping[str, Any], axes: int) -> list[int]:
    """Padding of each axis. BadInput where its two ends differ."""
    automatic, pads = attributes.get("auto_pad", b"NOTSET"), attributes.get("pads", [0] * 2 * axes)
    if automatic not in {b"NOTSET", b"VALID"} or pads[:axes] != pads[axes:]:
        raise _no(f"{name} pads the two ends of an axis differently, which hls4ml cannot build from torch")
    return list(pads[:axes])


def _value(attribute: Any) -> Any:
    import onnx

    found = onnx.helper.get_attribute_value(attribute)
    return list(found) if attribute.type in {attribute.INTS, attribute.FLOATS} else found


def _no(words: str) -> BadInput:
    return BadInput(f"target.runtime hls cannot build this model: {words}")
