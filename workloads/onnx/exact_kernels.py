"""Graphs that ONNX Runtime's exact kernels load: no int8 constant with two readers.

With `session.x64quantprecision` the library (1.31) stores each int8 weight anew as uint8, once for each node that reads
it, under one name: the second time ends the load ("Attempt to replace the existing tensor"). A table or a weight that
two layers share is such a constant, and so is one behind a DequantizeLinear with two readers, which the library doubles
first. Here each reader gets its own; constants in other files are not copied, only named twice.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def apart(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model, or where int8 constants are shared a copy in which none is."""
    import onnx

    if not _shared(model.graph):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _one_reader_for_each_dequantization(made.graph)
    _one_reader_for_each_constant(made.graph)
    return made


def _shared(graph: Any) -> bool:
    constants, reads = _constants(graph), _reads(graph)
    return any(
        reads[name] > 1 or (node.op_type == "DequantizeLinear" and reads[node.output[0]] > 1)
        for node in graph.node
        for name in node.input
        if name in constants
    )


def _constants(graph: Any) -> dict[str, Any]:
    """Int8 initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == tensor.INT8}


def _reads(graph: Any) -> Counter[str]:
    """Number of times each tensor is read by nodes of this graph, or given as an output."""
    return Counter([name for node in graph.node for name in node.input] + [port.name for port in graph.output])


def _names(graph: Any) -> set[str]:
    found = {tensor.name for tensor in graph.initializer} | {port.name for port in graph.input}
    return found | {name for node in graph.node for name in (node.name, *node.input, *node.output)}


def _fresh(wanted: str, taken: set[str]) -> str:
    number = 1
    while f"{wanted}_{number}" in taken:
        number += 1
    taken.add(f"{wanted}_{number}")
    return f"{wanted}_{number}"


def _one_reader_for_each_dequantization(graph: Any) -> None:
    """A DequantizeLinear of its own for each reader but the first, right behind the one that it is a copy of."""
    import onnx

    constants, taken, outputs = _constants(graph), _names(graph), {port.name for port in graph.output}
    nodes = []
    for node in list(graph.node):
        nodes.append(node)
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        found = node.output[0]
        places = [(reader, place) for reader in graph.node for place, name in enumerate(reader.input) if name == found]
        for reader, place in places[0 if found in outputs else 1 :]:
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            twin.name, twin.output[0] = _fresh(node.name or found, taken), _fresh(found, taken)
            reader.input[place] = twin.output[0]
            nodes.append(twin)
    # Copies of all: protobuf moves no message of a list.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _one_reader_for_each_constant(graph: Any) -> None:
    import onnx

    constants, taken, seen = _constants(graph), _names(graph), set[str]()
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in constants:
                continue
            if name in seen:
                twin = onnx.TensorProto()
                twin.CopyFrom(constants[name])
                twin.name = node.input[place] = _fresh(name, taken)
                graph.initializer.append(twin)
            seen.add(name)
