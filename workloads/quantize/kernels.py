"""What of a model runs on integers, and what stayed float? Asked of the runtime itself, after its own fusions."""

import tempfile
from pathlib import Path
from typing import Any

INTEGER = ("QLinear", "QGemm", "QAttention", "MatMulInteger", "ConvInteger", "DynamicQuantize", "MatMulNBits", "QMoE")
# These move numbers about or convert them; they compute nothing.
PLUMBING = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Flatten", "Identity", "Cast", "Squeeze"}
    | {
        "Unsqueeze",
        "Concat",
        "Slice",
        "Gather",
        "Shape",
        "Constant",
        "Split",
        "Expand",
        "ReorderInput",
        "ReorderOutput",
    }
)


def of(path: Path) -> dict[str, Any]:
    """Operators after optimisation.

    `integer` and `float` with their counts, conversions between them in `conversions`.
    """
    import onnx
    import onnxruntime

    from workloads.quantize.runtime import FATAL, PROVIDERS

    with tempfile.TemporaryDirectory(prefix="slipway-kernels-") as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        # One step below what serving does: the last one only changes the memory layout, and its file is for this CPU.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        onnxruntime.InferenceSession(path, options, providers=PROVIDERS)
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    result: dict[str, Any] = {"integer": {}, "float": {}, "conversions": 0, "floatNodes": []}
    for node in nodes:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            result["conversions"] += 1
        if node.op_type in PLUMBING:
            continue
        side = "integer" if node.op_type.startswith(INTEGER) else "float"
        result[side][node.op_type] = result[side].get(node.op_type, 0) + 1
        if side == "float":
            result["floatNodes"].append(node.name)
    return result
