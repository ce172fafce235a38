"""Precision of a model's operators, integer or float. Asked of the runtime itself, after its own fusions."""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.status import Stage
from workloads.onnx import external_data

INTEGER = ("QLinear", "QGemm", "QAttention", "MatMulInteger", "ConvInteger", "DynamicQuantize", "MatMulNBits", "QMoE")
# Rungs that leave floats to all nodes of a kind.
WHOLE_RUNGS: dict[str, str] = {
    Rung.DYNAMIC: "dynamic quantization is for matrix products",
    Rung.WEIGHT_ONLY_INT8: "only the weights are integers",
    Rung.WEIGHT_ONLY_INT4: "only the weights are integers",
    Rung.FP16: "FP16 is a float",
    Stage.COMPRESS: "smaller, and not quantized",
}
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


LITERT = "all of it, by LiteRT's own kernels: it does not tell which"
LARGE = 1 << 30  # bytes: the optimised form may be larger, and protobuf takes 2 GB at most
UNTOLD = "not told of so large a model: its optimised form would have to be written and read whole"
SIMULATED = "FP8 is computed in float here: only TensorRT has kernels for it"


def of(path: Path, why: "Callable[[str, str], str]") -> dict[str, Any]:
    """Operators after optimisation.

    `integer` and `float` with their counts, conversions between them in `conversions`; `why` is asked with the name
    and the operator of every node that is left on floats.
    """
    import onnx

    from workloads.onnx.session import has_float8

    result: dict[str, Any] = {"integer": {}, "float": {}, "conversions": 0, "floatNodes": [], "note": ""}
    if path.suffix == ".tflite":
        return {**result, "note": LITERT}
    if external_data.data_of(path) or path.stat().st_size > LARGE:
        return {**result, "note": UNTOLD}
    model = onnx.load(path)
    if has_float8(model):
        return {**result, "note": SIMULATED}
    for node in _optimised(path):
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            result["conversions"] += 1
        if node.op_type in PLUMBING:
            continue
        side = "integer" if node.op_type.startswith(INTEGER) else "float"
        result[side][node.op_type] = result[side].get(node.op_type, 0) + 1
        if side == "float":
            about = {"node": node.name, "op": node.op_type, "why": why(node.name, node.op_type)}
            result["floatNodes"].append(about)
    return result


def _optimised(path: Path) -> Any:
    """The nodes that the runtime will really run."""
    import onnx
    import onnxruntime

    from workloads.onnx.session import FATAL, PROVIDERS

    with tempfile.TemporaryDirectory(prefix="slipway-kernels-") as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        # One step below what serving does: the last one only changes the memory layout, and its file is for this CPU.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        onnxruntime.InferenceSession(path, options, providers=PROVIDERS)
        return onnx.load(options.optimized_model_filepath).graph.node


def reasons(
    rung: str, *, excluded: Collection[str], sensitive: Collection[str], known: Collection[str]
) -> "Callable[[str, str], str]":
    """Function that says why a node stayed on floats. `known` are the operators that its target quantizes."""

    def why(name: str, op_type: str) -> str:
        if not rung:
            return "the float model"
        if rung in WHOLE_RUNGS:
            return WHOLE_RUNGS[rung]
        name = name.removeprefix("fused ")  # what the runtime calls a node that has taken in the one behind it
        if name in excluded:
            return "kept in float by spec.exclude"
        if name in sensitive:
            return "kept in float: quantizing it costs most"
        if op_type.removeprefix("Fused") not in known:
            return f"{op_type} has no quantized form here"
        return "has Q/DQ around it, and the runtime has no integer kernel for this place"

    return why
