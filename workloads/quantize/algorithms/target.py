"""Profiles of targets: their integers, operators and form of Q/DQ. One entry per kind of hardware."""

from dataclasses import dataclass, field
from typing import Any

from slipway.api.quantization.ladder import OWN_WIDTH, Hardware, Rung, Runtime, Target
from workloads.quantize.calibration.scale import Levels

# Operators whose integer kernels TensorRT has; anything else between Q/DQ costs a conversion and gains nothing.
TENSORRT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
# Names of the recipes of LiteRT's own quantizer.
RECIPES = {
    Rung.STATIC_PER_CHANNEL: "static_wi8_ai8",
    Rung.DYNAMIC: "dynamic_wi8_afp32",
    Rung.WEIGHT_ONLY_INT8: "weight_only_wi8_afp32",
    Rung.WEIGHT_ONLY_INT4: "weight_only_wi4_afp32",
}


@dataclass(frozen=True)
class Profile:
    """Rules for a static model. `options` are ONNX Runtime's extra_options, `op_types` None means all it knows."""

    activations: Levels
    signed_activations: bool
    reduced_weights: bool = False
    op_types: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def profile_of(target: Target) -> Profile:
    """The profile of a target."""
    # OpenVINO folds a float bias by itself; the int32 Q/DQ form of it is ONNX Runtime's own.
    bias = {"QuantizeBias": False} if target.runtime is not Runtime.ONNXRUNTIME else {}
    if target.hardware is Hardware.NVIDIA:
        options = {"ActivationSymmetric": True, "WeightSymmetric": True, "DedicatedQDQPair": True, **bias}
        # Fused by TensorRT itself, which has to see it; without, a Relu would live on in the unsigned range only.
        options["QDQKeepRemovableActivations"] = True
        return Profile(Levels.of(8, signed=True, symmetric=True), True, False, TENSORRT_OPS, options)
    if target.hardware is Hardware.ARM64:
        return Profile(Levels.of(8, signed=True, symmetric=False), True, options=bias)
    reduced = target.hardware is Hardware.X86
    return Profile(Levels.of(8, signed=False, symmetric=False), False, reduced, options=bias)


def impossible(rung: Rung, target: Target, bits: int) -> str | None:
    """Reason why a rung makes no sense for a target and a width of the weights, or None."""
    here = target.runtime
    reasons = {
        f"LiteRT's quantizer has no {rung}; it has {', '.join(RECIPES)}": here is Runtime.LITERT
        and rung not in RECIPES,
        f"a circuit of fixed-point numbers has no {rung}; it has {Rung.STATIC_PER_TENSOR}": here is Runtime.HLS
        and rung is not Rung.STATIC_PER_TENSOR,
        "weights.bits is for integers; target.fpga.precision says the width of a circuit's numbers": bits < 8
        and here is Runtime.HLS,
        f"{here} has no FP8 kernels: only TensorRT has them": rung is Rung.FP8 and here is not Runtime.TENSORRT,
        "OpenVINO reads no weights in 8-bit floats": rung is Rung.FP8_DYNAMIC and here is Runtime.OPENVINO,
        f"weights.bits asks for {bits}-bit weights, and this rung has its own": bits < 8
        and (rung in OWN_WIDTH or here is Runtime.LITERT),
        f"it moves the difficulty from the activations to the weights, which have {bits} bits only": bits < 8
        and rung is Rung.SMOOTH_QUANT,
        "TensorRT reads explicit Q/DQ only, and dynamic quantization has none": here is Runtime.TENSORRT
        and rung is Rung.DYNAMIC,
        "4-bit weights are packed with an operator of ONNX Runtime (MatMulNBits)": rung is Rung.WEIGHT_ONLY_INT4
        and here not in {Runtime.ONNXRUNTIME, Runtime.LITERT},
    }
    return next((words for words, holds in reasons.items() if holds), None)
