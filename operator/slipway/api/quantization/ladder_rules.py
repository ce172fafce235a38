"""Rules of a QuantizationJob on its ladder: what a rung needs, which engine runs it, and which go together."""

from collections.abc import Iterable
from typing import Any

from slipway.api.common.base import Rule
from slipway.api.quantization.ladder import (
    CALIBRATED,
    LANGUAGE_ONLY,
    LANGUAGE_RUNGS,
    OWN_WIDTH,
    UNSUPPORTED,
    Rung,
    Runtime,
    one_kind_of_model,
)
from slipway.api.quantization.settings import WHOLE_BITS


def _data_for_ladder(spec: Any) -> bool:
    return bool(spec.calibration is not None or not CALIBRATED & set(spec.ladder))


def _ranges_for_mixed(spec: Any) -> bool:
    static = {Rung.STATIC_PER_TENSOR, Rung.STATIC_PER_CHANNEL}
    before = spec.ladder[: spec.ladder.index(Rung.MIXED_PRECISION)] if Rung.MIXED_PRECISION in spec.ladder else None
    return before is None or bool(static & set(before))


def _fp8_for_its_runtime(spec: Any) -> bool:
    return Rung.FP8 not in spec.ladder or spec.target.runtime is Runtime.TENSORRT


def _some_rung_runs(spec: Any) -> bool:
    return bool(set(spec.ladder) - UNSUPPORTED[spec.target.runtime])


def _some_rung_is_narrow(spec: Any) -> bool:
    return spec.weights.bits == WHOLE_BITS or bool(set(spec.ladder) - OWN_WIDTH)


def _listed(rungs: Iterable[Rung]) -> str:
    """CEL list of rungs, in alphabetical order."""
    return "[" + ", ".join(f"'{rung.value}'" for rung in sorted(rungs)) + "]"


# CEL's lists have no positions: so those of a ladder are counted here.
_PLACES = list(range(len(Rung)))
_STATIC_FIRST = (
    f"!('mixed-precision' in self.ladder) || {_PLACES}.exists(i, i < size(self.ladder) && "
    f"self.ladder[i].startsWith('static-') && {_PLACES}.exists(j, i < j && j < size(self.ladder) && "
    "self.ladder[j] == 'mixed-precision'))"
)
_RUNS = " && ".join(
    f"(self.target.runtime != '{runtime.value}' || self.ladder.exists(r, !(r in {_listed(rungs)})))"
    for runtime, rungs in UNSUPPORTED.items()
)
_CALIBRATED_WORDS = ", ".join(f"'{rung.value}'" for rung in sorted(CALIBRATED))

RULES: tuple[Rule, ...] = (
    Rule(
        f"has(self.calibration) || !self.ladder.exists(r, r in [{_CALIBRATED_WORDS}])",
        "static rungs, and int4 ones but rtn-int4, need samples to calibrate on: set calibration, or another ladder",
        _data_for_ladder,
    ),
    Rule(
        _STATIC_FIRST,
        "mixed-precision starts from a static candidate: put a static rung before it",
        _ranges_for_mixed,
    ),
    Rule(
        "!self.ladder.exists(r, r == 'fp8') || self.target.runtime == 'tensorrt'",
        "fp8 needs target.runtime tensorrt: runtimes on a CPU have no FP8 kernels; fp16 and int8 run everywhere",
        _fp8_for_its_runtime,
    ),
    Rule(
        _RUNS,
        "target.runtime can execute no rung of the ladder: TensorRT has no dynamic quantization, only ONNX Runtime "
        "has 4-bit weights, FP8 is TensorRT's, and hls has static-per-tensor alone",
        _some_rung_runs,
    ),
    Rule(
        f"self.weights.bits == {WHOLE_BITS} || self.ladder.exists(r, !(r in {_listed(OWN_WIDTH)}))",
        "weights.bits narrows static rungs and qat, and the ladder has none: add one, or leave weights.bits out",
        _some_rung_is_narrow,
    ),
    Rule(
        f"!self.ladder.exists(r, r in {_listed(LANGUAGE_ONLY)}) || self.ladder.all(r, r in {_listed(LANGUAGE_RUNGS)})",
        "rungs of int4 and fp8-dynamic are for language models, with weight-only-int8 and no other rung",
        lambda spec: one_kind_of_model(spec.ladder),
    ),
    Rule(
        "has(self.evaluation.tasks) == has(self.gates.tasks)",
        "gates.tasks compares the answers to evaluation.tasks: set both or neither",
        lambda spec: (spec.evaluation.tasks is None) == (spec.gates.tasks is None),
    ),
)
