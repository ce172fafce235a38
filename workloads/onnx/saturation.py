"""Saturation of 8-bit products on x86 CPUs without VNNI, and the exact kernels that avoid it.

Without VNNI ONNX Runtime adds pairs of uint8 x int8 products in 16 bits (VPMADDUBSW), which overflow once weights use
their whole range: a classifier of 97 % answers 60 % right, and no error is raised. Weights of 7 bits never overflow
(the target `x86`). For the others the library has exact kernels, slower, behind `session.x64quantprecision`: they give
on any CPU what VNNI gives. Asked by the quantizer, before it judges, and by the server, before it serves.
"""

import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.quantization.ladder import Hardware

if TYPE_CHECKING:
    import onnx

CPUINFO = Path("/proc/cpuinfo")
EXACT = "session.x64quantprecision"
VNNI = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
# What decides which integer kernels run, as /proc/cpuinfo names it.
KNOWN = VNNI | {"avx2", "avx512f", "avx512bw", "asimddp", "i8mm", "sve"}
SAFE = 64  # weights within +-64: 2 x 255 x 64 fits into 16 bits
# Operators that multiply integers, or make the other operand of such a product: weights that are only dequantized are
# multiplied as floats, and saturate nothing.
INTEGERS = ("QLinear", "QGemm", "QAttention", "MatMulInteger", "ConvInteger", "DynamicQuantize", "QuantizeLinear")


@cache
def features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """CPU features that matter for integer kernels; empty where the kernel does not tell."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.split(":")[0].strip() in {"flags", "Features"}), "")
    return KNOWN & frozenset(flags.partition(":")[2].split())


def x86() -> bool:
    """Tell whether this CPU is an x86-64 one."""
    return platform.machine().lower() in {"x86_64", "amd64"}


def hardware() -> Hardware:
    """This node, as a target of quantization."""
    if not x86():
        return Hardware.ARM64
    return Hardware.X86_VNNI if features() & VNNI else Hardware.X86


def saturates(model: "onnx.ModelProto") -> bool:
    """Tell whether this CPU gives other answers for a model than one with VNNI.

    It does without VNNI, for weights that use all 8 bits.
    """
    return hardware() is Hardware.X86 and _whole_range(model)


def options(settings: Any, model: "onnx.ModelProto") -> bool:
    """Ask a session for exact kernels where the fast ones saturate; returns whether they were asked for."""
    exact = saturates(model)
    if exact:
        settings.add_session_config_entry(EXACT, "1")
    return exact


def _whole_range(model: "onnx.ModelProto") -> bool:
    nodes = list(_nodes(model.graph))
    if not any(node.op_type.startswith(INTEGERS) for node in nodes):
        return False
    return any(map(_wide, _constants(model.graph))) or _quantizes_weights(model.graph)


def _nodes(graph: Any) -> "Iterator[Any]":
    """Nodes of a graph and of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(body)


def _constants(graph: Any) -> "Iterator[Any]":
    """Constants wherever exporters keep them: initializers, of bodies too, and nodes Constant."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield attribute.t
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _constants(body)


def _wide(tensor: Any) -> bool:
    import numpy as np
    from onnx import numpy_helper

    # Unsigned weights have their middle at 128; a zero point is no weight.
    if tensor.data_type == tensor.UINT8 and len(tensor.dims) > 1:
        return True
    if tensor.data_type != tensor.INT8:
        return False
    if tensor.data_location == tensor.EXTERNAL:
        return True  # not read only to be looked at: exact kernels are right in any case
    return bool(np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0) > SAFE)


def _quantizes_weights(graph: Any) -> bool:
    """Tell whether float weights are quantized in the graph, as exports of quantization-aware training have them.

    ONNX Runtime folds that when it loads; whether 7 bits would have held them is not worth folding them here.
    """
    weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    return any(node.op_type == "QuantizeLinear" and node.input[0] in weights for node in graph.node)
