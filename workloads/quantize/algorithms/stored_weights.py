"""Weights that are smaller only as stored: of recurrent layers, in bodies of If and Loop, and tables of embeddings.

No quantizer of ONNX Runtime takes them (but an LSTM's in the main graph), and in speech and text models they are most
of the file. They are kept as int8 with a scale per output channel, or per row of a table, and are floats again when
they are read; what that costs in each call is measured like all else.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx import external_data
from workloads.quantize.calibration.scale import INT8
from workloads.quantize.graph import domains, walk

if TYPE_CHECKING:
    import onnx

SMALLEST = 256  # elements: below, a scale and a node cost more than they save
NARROWEST = 8  # columns of a table: a scale for each row has to pay, too
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


def holders(model: "onnx.ModelProto") -> list[str]:
    """Nodes of the main graph that read such a weight, or whose bodies do."""
    found = dict.fromkeys(node.name for node, *_ in _places((model.graph,), None))
    return list(dict.fromkeys([*found, *(node.name for _, nodes in _tables(model, None) for node in nodes)]))


def store(model: "onnx.ModelProto", nodes: Collection[str]) -> int:
    """Store what these nodes of the main graph hold, in place. Returns how many weights."""
    taken, count, done = walk.names(model.graph), 0, set[int]()
    for _, scope, tensor, axis in list(_places((model.graph,), nodes)):
        if id(tensor) not in done:
            done.add(id(tensor))
            _dequantized(scope, tensor, axis, taken)
            count += 1
    for tensor, readers in list(_tables(model, nodes)):
        _looked_up(model, tensor, readers, taken)
        count += 1
    return count


def _places(chain: tuple[Any, ...], nodes: Collection[str] | None) -> Iterator[tuple[Any, Any, Any, int]]:
    """Node of the main graph, scope of a constant, constant, axis of its outputs. `chain`: scopes from outside in."""
    for node in chain[-1].node:
        main = len(chain) == 1
        if main and nodes is not None and node.name not in nodes:
            continue
        if node.domain in domains.ONNX and (not main or node.op_type in RECURRENT):
            for name, axis in _operands(node):
                found = _resolved(chain, name)
                shown = found is not None and any(value.name == name for value in found[0].output)
                if found is not None and not shown and _worth(found[1], axis):
                    yield node, *found, axis % len(found[1].dims)
        for body in walk.subgraphs(node):
            for _, *rest in _places((*chain, body), None):
                yield node, *rest


def _operands(node: Any) -> list[tuple[str, int]]:
    """Inputs that are weights, each with the axis of its outputs."""
    axes = {"Conv": [0], "ConvTranspose": [1], "MatMul": [-1], **{kind: [1, 1] for kind in RECURRENT}}
    axes["Gemm"] = [0 if walk.attribute(node, "transB", 0) else 1] if node.op_type == "Gemm" else []
    return list(zip(node.input[1:], axes.get(node.op_type, []), strict=False))


def _resolved(chain: tuple[Any, ...], name: str) -> tuple[Any, Any] | None:
    """The scope and the constant that a name means inside the last scope."""
    for scope in reversed(chain):
        found = next((tensor for tensor in scope.initializer if tensor.name == name), None)
        if found is not None:
            return scope, found
        if any(name in node.output for node in scope.node) or any(value.name == name for value in scope.input):
            return None
    return None


def _worth(tensor: Any, axis: int) -> bool:
    rank, size = len(tensor.dims), math.prod(tensor.dims)
    return bool(tensor.data_type == tensor.FLOAT and rank > 1 and axis < rank and size >= SMALLEST)


def _dequantized(scope: Any, tensor: Any, axis: int, taken: set[str]) -> None:
    """Replace a constant of a scope by integers and a DequantizeLinear.

    It gives another name: a constant may be called as one outside is, and what a node gives may not.
    """
    from onnx import helper, numpy_helper

    values, name = external_data.values(tensor), tensor.name
    others = tuple(each for each in range(values.ndim) if each != axis)
    scales = _scales(np.abs(values).max(axis=others))
    shape = [1] * values.ndim
    shape[axis] = -1
    inputs = [walk.fresh(f"{name}_{part}", taken) for part in ("int8", "scale", "zero")]
    scope.initializer.remove(tensor)
    small = numpy_helper.from_array(_rounded(values, scales.reshape(shape)), inputs[0])
    # Zeros for the reason that weight_only_int8 gives.
    zeros = numpy_helper.from_array(np.zeros(len(scales), np.int8), inputs[2])
    scope.initializer.extend([small, numpy_helper.from_array(scales, inputs[1]), zeros])
    label, floats = walk.fresh(f"{name}_dequantize", taken), walk.fresh(f"{name}_float", taken)
    _rename(scope, name, floats)
    scope.node.insert(0, helper.make_node("DequantizeLinear", inputs, [floats], label, axis=axis))


def _rename(scope: Any, old: str, new: str) -> None:
    """Rename a tensor where nodes of a scope read it, and in the bodies in it that have no such name of their own."""
    for node in scope.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for body in walk.subgraphs(node):
            own = {value.name for value in (*body.initializer, *body.input)}
            if old not in own and not any(old in each.output for each in body.node):
                _rename(body, old, new)


def _scales(largest: Any) -> Any:
    return np.maximum(largest / INT8.greatest, np.finfo(np.float32).tiny).astype(np.float32)


def _rounded(values: Any, scales: Any) -> Any:
    return np.clip(np.rint(values / scales), INT8.least, INT8.greatest).astype(np.int8)


def _tables(model: "onnx.ModelProto", nodes: Collection[str] | None) -> Iterator[tuple[Any, list[Any]]]:
    """Constants [rows, columns] that nothing but Gather reads, by rows, with their readers."""
    uses, readers = walk.uses(model.graph), dict[str, list[Any]]()
    for node in model.graph.node:
        rows = node.op_type == "Gather" and node.domain in domains.ONNX and walk.attribute(node, "axis", 0) in {0, -2}
        if rows and (nodes is None or node.name in nodes) and node.input[0] != node.input[1]:
            readers.setdefault(node.input[0], []).append(node)
    for tensor in model.graph.initializer:
        own = readers.get(tensor.name, [])
        whole = len(tensor.dims) == 2 and tensor.dims[1] >= NARROWEST and _worth(tensor, 0)
        if own and whole and len(own) == uses.get(tensor.name, 0):
            yield tensor, own


def _looked_up(model: "onnx.ModelProto", tensor: Any, readers: Sequence[Any], taken: set[str]) -> None:
    """Look up rows of integers and their scales, and multiply them: the table itself is never a float again."""
    from onnx import TensorProto, helper, numpy_helper

    values, name = external_data.values(tensor), tensor.name
    scales = _scales(np.abs(values).max(axis=1, keepdims=True))
    inputs = [walk.fresh(f"{name}_int8", taken), walk.fresh(f"{name}_scale", taken)]
    model.graph.initializer.remove(tensor)
    small = numpy_helper.from_array(_rounded(values, scales), inputs[0])
    model.graph.initializer.extend([small, numpy_helper.from_array(scales, inputs[1])])
    for node in readers:
        rows, floats, factors = (walk.fresh(f"{node.output[0]}_{part}", taken) for part in ("int8", "float", "scale"))
        steps = [
            helper.make_node("Gather", [inputs[0], node.input[1]], [rows], node.name, axis=0),
            helper.make_node("Cast", [rows], [floats], walk.fresh(f"{node.name}_cast", taken), to=TensorProto.FLOAT),
            helper.make_node("Gather", [inputs[1], node.input[1]], [factors], walk.fresh(factors, taken), axis=0),
            helper.make_node("Mul", [floats, factors], [node.output[0]], walk.fresh(f"{node.name}_scale", taken)),
        ]
        place = next(index for index, each in enumerate(model.graph.node) if each is node or each == node)
        del model.graph.node[place]
        for offset, step in enumerate(steps):
            model.graph.node.insert(place + offset, step)
