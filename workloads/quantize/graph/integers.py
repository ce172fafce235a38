"""Integer weights and kernels in a graph: they tell if a model is quantized, and a candidate what it says it is."""

from typing import Any

from workloads.quantize.graph import walk

# Operators that compute on integers, or hold weights of few bits; com.microsoft's and ONNX's.
QUANTIZED = frozenset(
    {
        "QLinearConv",
        "QLinearMatMul",
        "QLinearAdd",
        "QLinearMul",
        "QGemm",
        "QAttention",
        "QEmbedLayerNormalization",
        "QMoE",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "MatMulNBits",
        "MatMulBnb4",
        "GatherBlockQuantized",
    }
)
PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def operators(model: Any) -> list[str]:
    """Operators of quantization that a graph has, each once; empty for a float model."""
    return sorted({node.op_type for node in walk.nodes(model.graph) if node.op_type in QUANTIZED | PAIRS})


def weights(model: Any) -> int:
    """Constants of 8 bits or fewer that a quantized operator or a DequantizeLinear reads."""
    import onnx

    narrow = {
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.FLOAT8E4M3FN,
        onnx.TensorProto.FLOAT8E5M2,
        *(getattr(onnx.TensorProto, name) for name in ("INT4", "UINT4") if hasattr(onnx.TensorProto, name)),
    }
    constants = {
        tensor.name
        for graph in walk.graphs(model.graph)
        for tensor in graph.initializer
        # A zero point is a constant of 8 bits too, of one element or one a channel.
        if tensor.data_type in narrow and _elements(tensor) > 1
    }
    readers = [node for node in walk.nodes(model.graph) if node.op_type in QUANTIZED | {"DequantizeLinear"}]
    used = {name for node in readers for name in node.input[: 2 if node.op_type != "DequantizeLinear" else 1]}
    used |= {node.input[3] for node in readers if node.op_type == "QLinearConv" and len(node.input) > 3}
    used |= {node.input[3] for node in readers if node.op_type in {"QLinearMatMul", "QGemm"} and len(node.input) > 3}
    used |= {name for node in readers if node.op_type == "DynamicQuantizeLSTM" for name in node.input[1:3]}
    used |= {
        name for node in readers if node.op_type in {"QAttention", "QEmbedLayerNormalization"} for name in node.input
    }
    # A table of which rows are looked up, and made floats by their scales.
    floats = {node.input[0] for node in walk.nodes(model.graph) if node.op_type == "Cast"}
    gathers = [node for node in walk.nodes(model.graph) if node.op_type == "Gather" and node.output[0] in floats]
    used |= {node.input[0] for node in gathers}
    return len(constants & used)


def _elements(tensor: Any) -> int:
    count = 1
    for length in tensor.dims:
        count *= length
    return count
