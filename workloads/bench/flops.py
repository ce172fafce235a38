"""FLOPs of one sample, and number of parameters of a model. Asked by `bench` once per model.

FLOPs are those of matrix products and convolutions, two for each multiplication with its addition, as
torch.utils.flop_counter counts them (Micikevicius 2018 calls it the model's FLOPs): quantized ones count alike, though
they are integer operations. For ONNX the shapes are those that the tensors really had in one run.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.bench.models_under_test import Source
from workloads.models.from_artifact import load_model
from workloads.onnx import session
from workloads.onnx.model_files import data_files, parse
from workloads.onnx.node_flops import RULES, Shape
from workloads.serve.datatypes import Array
from workloads.serve.engines.warmup import sample

if TYPE_CHECKING:
    import onnx

# What multiplies matrices inside, in ways that are not counted here: better no figure than one that leaves them out.
UNCOUNTED = {
    "LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "GroupQueryAttention", "If", "Loop", "Scan",
    "DeformConv", "FusedConv", "FusedMatMul", "FusedGemm", "QAttention", "DynamicQuantizeLSTM",
}  # fmt: skip
BIAS = {"QLinearConv": 8, "QGemm": 6}  # of operators whose operands are at 0 and 3, with scales and zero points between
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def parameters(source: Source) -> int | None:
    """Number of parameters: the artifact's figure, else counted in the ONNX file; None where neither is there.

    The count is of the file's constants without scales, zero points and shapes.
    """
    described = source.model.artifact
    if described is not None and described.parameters:
        return described.parameters
    return None if source.model.onnx is None else _weights(_read(source.model.onnx))


def _read(path: Path) -> "onnx.ModelProto":
    from workloads.onnx import file

    return file.load(path)


def _weights(model: "onnx.ModelProto") -> int:
    graph = model.graph
    grids = {node.input[place] for node in graph.node for place in _grids(node)}
    packed = {node.input[1] for node in graph.node if node.op_type == "MatMulNBits"}
    total: int = sum(
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.dims and tensor.name not in grids | packed and tensor.data_type != tensor.INT64
    )
    return total + sum(
        _attribute(node, "K") * _attribute(node, "N")
        for node in graph.node
        if node.input[1:2] and node.input[1] in packed
    )


def _grids(node: "onnx.NodeProto") -> range | list[int]:
    """Places of a node's scales and zero points."""
    kind, count = node.op_type, len(node.input)
    if kind in QUANTIZERS:
        return range(1, count)
    if kind == "MatMulNBits":
        return range(2, count)
    return [place for place in range(count) if place not in (0, 3, BIAS.get(kind))] if kind.startswith("Q") else []


def _attribute(node: "onnx.NodeProto", name: str) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == name)


def flops(source: Source) -> int | None:
    """FLOPs of one sample, or None.

    They cannot be counted for LiteRT's files, and for operators that hide their products.
    """
    inputs = sample(source.model.signature, 1)
    if source.model.weights is not None:
        return of_module(source, inputs)
    return None if source.model.onnx is None else of_graph(_read(source.model.onnx), inputs)


def of_module(source: Source, inputs: Sequence[Array]) -> int:
    """FLOPs of a torch module, counted by torch itself while the module runs once."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module, _ = load_model(source.model.folder, source.model.digest)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*(torch.from_numpy(value) for value in inputs))
    return int(counter.get_total_flops())


def of_graph(model: "onnx.ModelProto", inputs: Sequence[Array]) -> int | None:
    """FLOPs of an ONNX graph, from the shapes of one run; a shape that a constant has is known without it.

    None for a graph with operators that hide their products, or with local functions.
    """
    import onnx

    nodes = [node for node in model.graph.node if node.op_type in RULES]
    if any(node.op_type in UNCOUNTED for node in model.graph.node) or model.functions:
        return None
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    names = [port.name for port in model.graph.input if port.name not in shapes]
    shapes |= {name: value.shape for name, value in zip(names, inputs, strict=True)}
    seen = [name for node in nodes for name in (*_operands(node), node.output[0]) if name not in shapes]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(seen))
    if seen:
        results = session.session(watched, optimise=False).run(None, dict(zip(names, inputs, strict=True)))
        shapes |= {name: np.shape(value) for name, value in zip(dict.fromkeys(seen), results, strict=True)}
    return sum(_of_node(node, shapes) for node in nodes)


def _operands(node: "onnx.NodeProto") -> list[str]:
    return [node.input[place] for place in RULES[node.op_type][0]]


def _of_node(node: Any, shapes: dict[str, Shape]) -> int:
    left, right = (shapes[name] for name in _operands(node))
    return RULES[node.op_type][1](shapes[node.output[0]], left, right)


def file_bytes(path: Path) -> int:
    """Bytes of the model's file; for ONNX with the files beside it that hold its weights."""
    size = path.stat().st_size
    if path.suffix != ".onnx":
        return size
    return size + sum((path.parent / name).stat().st_size for name in data_files(path, parse(path)))
