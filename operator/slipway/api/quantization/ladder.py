"""Target of a quantized model, and the rungs that are tried for it: which engine can run which.

Read by the API's rules at admission and by `python -m workloads quantize` when it climbs.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.quantization.fpga import Fpga


class Runtime(StrEnum):
    """Engine that executes the quantized model."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    LITERT = "litert"
    HLS = "hls"


class Hardware(StrEnum):
    """Hardware that the quantized model runs on: decides which integers are fast and which overflow."""

    AUTO = "auto"
    X86_VNNI = "x86-vnni"
    X86 = "x86"
    ARM64 = "arm64"
    NVIDIA = "nvidia"


class CachePrecision(StrEnum):
    """Number format of a language model's keys and values while it answers."""

    F32 = "f32"
    F16 = "f16"
    U8 = "u8"


class Target(Model):
    """Engine and hardware that will serve the quantized model."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.hardware == 'auto' ? self.runtime != 'tensorrt' : "
            "(self.runtime == 'tensorrt') == (self.hardware == 'nvidia')",
            "runtime tensorrt and hardware nvidia belong together: set both or neither",
            lambda target: (target.runtime is Runtime.TENSORRT) == (target.hardware is Hardware.NVIDIA),
        ),
        Rule(
            "!has(self.kvCachePrecision) || self.runtime == 'openvino'",
            "kvCachePrecision is gated in the engine that serves: set runtime openvino",
            lambda target: target.kv_cache_precision is None or target.runtime is Runtime.OPENVINO,
        ),
        Rule(
            "(self.runtime == 'hls') == has(self.fpga)",
            "runtime hls and fpga belong together: set both or neither",
            lambda target: (target.runtime is Runtime.HLS) == (target.fpga is not None),
        ),
    )
    runtime: Runtime = Field(Runtime.ONNXRUNTIME, description="The engine.")
    hardware: Hardware = Field(
        Hardware.AUTO,
        description="auto: the node that the job runs on. x86 without VNNI gets 7-bit weights, so that products do not "
        "overflow 16 bits; another target than the node's is judged with exact kernels.",
    )
    fpga: Fpga | None = Field(None, description="The part, for runtime hls.")
    kv_cache_precision: CachePrecision | None = Field(
        None, description="Language models on openvino: format of keys and values that will serve; f16 if unset."
    )


class Goal(StrEnum):
    """Quality that decides between the candidates that pass."""

    BALANCED = "balanced"
    LATENCY = "latency"
    SIZE = "size"
    ACCURACY = "accuracy"


class Rung(StrEnum):
    """One step of the escalation."""

    STATIC_PER_TENSOR = "static-per-tensor"
    STATIC_PER_CHANNEL = "static-per-channel"
    SMOOTH_QUANT = "smooth-quant"
    BIAS_CORRECTION = "bias-correction"
    MIXED_PRECISION = "mixed-precision"
    DYNAMIC = "dynamic"
    WEIGHT_ONLY_INT8 = "weight-only-int8"
    WEIGHT_ONLY_INT4 = "weight-only-int4"
    FP8 = "fp8"
    FP16 = "fp16"
    QAT = "qat"
    RTN_INT4 = "rtn-int4"
    AWQ_INT4 = "awq-int4"
    GPTQ_INT4 = "gptq-int4"
    MIXED_INT4 = "mixed-int4-int8"
    FP8_DYNAMIC = "fp8-dynamic"


LADDER = (
    Rung.STATIC_PER_TENSOR,
    Rung.STATIC_PER_CHANNEL,
    Rung.SMOOTH_QUANT,
    Rung.BIAS_CORRECTION,
    Rung.MIXED_PRECISION,
    Rung.DYNAMIC,
    Rung.WEIGHT_ONLY_INT8,
    Rung.QAT,
)
# Of language models alone, beside weight-only-int8; in this order when the ladder is left as it is.
LANGUAGE_INT4 = (Rung.RTN_INT4, Rung.AWQ_INT4, Rung.GPTQ_INT4, Rung.MIXED_INT4)
LANGUAGE_LADDER = (*LANGUAGE_INT4, Rung.WEIGHT_ONLY_INT8)
# Only when it is named: the engine that serves needs a GPU.
LANGUAGE_ONLY = (*LANGUAGE_INT4, Rung.FP8_DYNAMIC)
LANGUAGE_RUNGS = (*LANGUAGE_LADDER, Rung.FP8_DYNAMIC)
# A pass over the model at most, once the ranges are known: those of a ladder are all tried before one is chosen.
CHEAP = frozenset(
    {
        Rung.STATIC_PER_TENSOR,
        Rung.STATIC_PER_CHANNEL,
        Rung.DYNAMIC,
        Rung.WEIGHT_ONLY_INT8,
        Rung.WEIGHT_ONLY_INT4,
        Rung.FP8,
        Rung.FP16,
    }
)
# These read the activations' ranges.
CALIBRATED = frozenset(
    {
        Rung.STATIC_PER_TENSOR,
        Rung.STATIC_PER_CHANNEL,
        Rung.SMOOTH_QUANT,
        Rung.BIAS_CORRECTION,
        Rung.MIXED_PRECISION,
        Rung.FP8,
        Rung.AWQ_INT4,
        Rung.GPTQ_INT4,
        Rung.MIXED_INT4,
    }
)
# What an engine cannot run at all; rungs that stay are tried, and each of these is left out with a word.
UNSUPPORTED: Mapping[Runtime, frozenset[Rung]] = {
    Runtime.ONNXRUNTIME: frozenset({Rung.FP8}),
    Runtime.OPENVINO: frozenset({Rung.FP8, Rung.FP8_DYNAMIC, Rung.WEIGHT_ONLY_INT4}),
    Runtime.TENSORRT: frozenset({Rung.DYNAMIC, Rung.WEIGHT_ONLY_INT4}),
    # Its own quantizer does the whole work, by its own recipes.
    Runtime.LITERT: frozenset(Rung)
    - {Rung.STATIC_PER_CHANNEL, Rung.DYNAMIC, Rung.WEIGHT_ONLY_INT8, Rung.WEIGHT_ONLY_INT4},
    # Fixed-point numbers, one format for each tensor.
    Runtime.HLS: frozenset(Rung) - {Rung.STATIC_PER_TENSOR},
}
# Their width is their own: they say nothing about weights of fewer bits.
OWN_WIDTH = frozenset({*LANGUAGE_ONLY, Rung.DYNAMIC, Rung.WEIGHT_ONLY_INT8, Rung.WEIGHT_ONLY_INT4, Rung.FP8, Rung.FP16})


def one_kind_of_model(ladder: Sequence[Rung]) -> bool:
    """Tell whether one model could climb the whole ladder: rungs of language models are for nothing else."""
    return not set(LANGUAGE_ONLY) & set(ladder) or set(ladder) <= set(LANGUAGE_RUNGS)


def goal_of(ladder: Sequence[Rung], asked: Goal | None) -> Goal | None:
    """Goal by which cheap rungs compete; None: the ladder was written out, and its first rung that passes is taken."""
    return asked or (Goal.BALANCED if tuple(ladder) == LADDER else None)


def climbing(ladder: Sequence[Rung], asked: Goal | None) -> list[Rung]:
    """The rungs in the order in which they are tried: when they compete, cheap ones first."""
    return list(ladder) if goal_of(ladder, asked) is None else sorted(ladder, key=lambda rung: rung not in CHEAP)
