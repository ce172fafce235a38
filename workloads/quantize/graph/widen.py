"""float16 and bfloat16 graphs in float32, inputs and outputs as they were.

Exact: every number of 16 bits is one of 32. The quantizer's tables, ranges and kernels are for float32, and on a CPU
most kernels of 16 bits are emulated anyway.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize.graph import walk

if TYPE_CHECKING:
    import onnx

TYPED = frozenset({"Cast", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "EyeLike"})


def narrow_types() -> dict[int, str]:
    """Element types that are widened, by ONNX's number."""
    from onnx import TensorProto

    return {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}


def narrow_type(model: "onnx.ModelProto") -> str:
    """The name of the 16-bit type that the weights have, or an empty string."""
    kinds = narrow_types()
    tensors = (tensor for graph in walk.graphs(model.graph) for tensor in graph.initializer)
    return next((kinds[tensor.data_type] for tensor in tensors if tensor.data_type in kinds and tensor.dims), "")


def widen(model: "onnx.ModelProto") -> None:
    """Widen a graph's 16-bit floats to float32, in place."""
    from onnx import TensorProto

    kinds, taken = narrow_types(), walk.names(model.graph)
    for graph in walk.graphs(model.graph):
        for tensor in graph.initializer:
            _tensor(tensor)
        for node in graph.node:
            _node(node)
        for value in (*graph.value_info, *([] if graph is model.graph else [*graph.input, *graph.output])):
            if value.type.tensor_type.elem_type in kinds:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
    for value in model.graph.input:
        if value.type.tensor_type.elem_type in kinds:
            _input(model.graph, value.name, taken)
    for value in model.graph.output:
        if value.type.tensor_type.elem_type in kinds:
            _output(model.graph, value, taken)


def _tensor(tensor: Any) -> None:
    from onnx import numpy_helper

    if tensor.data_type in narrow_types():
        values = np.asarray(numpy_helper.to_array(tensor)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _node(node: Any) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.HasField("t"):
            _tensor(attribute.t)
        if attribute.name in {"to", "dtype"} and node.op_type in TYPED and attribute.i in narrow_types():
            attribute.i = TensorProto.FLOAT


def _input(graph: Any, name: str, taken: set[str]) -> None:
    """Cast an input of 16 bits to float32 before anything reads it."""
    from onnx import TensorProto, helper

    wide = walk.fresh(f"{name}_float32", taken)
    for each in walk.graphs(graph):
        for node in each.node:
            node.input[:] = [wide if read == name else read for read in node.input]
    for value in graph.output:
        if value.name == name:
            return  # an input that is an output, too, is nobody's to rename
    graph.node.insert(
        0, helper.make_node("Cast", [name], [wide], walk.fresh(f"{name}_widen", taken), to=TensorProto.FLOAT)
    )


def _output(graph: Any, value: Any, taken: set[str]) -> None:
    """Cast an output back to its 16-bit type, as the last node."""
    from onnx import helper

    wide = walk.fresh(f"{value.name}_float32", taken)
    for each in walk.graphs(graph):
        for node in each.node:
            node.output[:] = [wide if written == value.name else written for written in node.output]
            node.input[:] = [wide if read == value.name else read for read in node.input]
    for tensor in graph.initializer:
        if tensor.name == value.name:  # a constant may be an output, too
            tensor.name = wide
    to = value.type.tensor_type.elem_type
    graph.node.append(helper.make_node("Cast", [wide], [value.name], walk.fresh(f"{value.name}_narrow", taken), to=to))
