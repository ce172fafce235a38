"""The quantized graphs: our ranges become the scales that are predicted, and each option does what it says."""

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from slipway.api.quantization.ladder import Hardware, Rung, Runtime, Target
from slipway.api.quantization.settings import CalibrationMethod, Exclusions
from workloads.errors import BadInput
from workloads.onnx import session
from workloads.quantize.algorithms import qdq
from workloads.quantize.algorithms.target import impossible, profile_of
from workloads.quantize.algorithms.weight_only import weights_of
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.scale import Levels, Range, fake_quantize, scale_and_zero_point
from workloads.quantize.calibration.statistics import Statistics

TARGETS = [
    Target(),
    Target(hardware=Hardware.X86),
    Target(hardware=Hardware.ARM64),
    Target(runtime=Runtime.OPENVINO),
    Target(runtime=Runtime.TENSORRT, hardware=Hardware.NVIDIA),
]


@pytest.fixture(scope="module")
def prepared(exported: Any) -> Any:
    return qdq.prepare(exported)


def found(activations: Statistics, target: Target) -> dict[str, Range]:
    levels = profile_of(target).activations
    return {name: ranges.find(t, CalibrationMethod.ENTROPY, levels, 99.99) for name, t in activations.items()}


def static(prepared: Any, activations: Statistics, target: Target, **options: Any) -> Any:
    profile = profile_of(target)
    nodes = options.pop("nodes", None) or qdq.quantizable_nodes(prepared, profile, [])
    options.setdefault("per_channel", True)
    return qdq.static(prepared, found(activations, target), profile, nodes, **options)


def constants(model: Any) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: f"{t.runtime}-{t.hardware}")
def test_scales_are_those_of_our_ranges(prepared: Any, activations: Statistics, target: Target) -> None:
    model, levels = static(prepared, activations, target), profile_of(target).activations
    values, checked = constants(model), 0
    for name, values_range in found(activations, target).items():
        if f"{name}_scale" not in values or name in {"conv2d", "conv2d_1", "linear"}:
            continue  # the library gives these the range of the Relu behind them
        scale, zero = scale_and_zero_point(values_range, levels)
        assert float(values[f"{name}_scale"]) == scale, name
        assert int(values[f"{name}_zero_point"]) == zero, name
        checked += 1
    assert checked >= 4
    assert qdq.operators(model)["QuantizeLinear"] >= 5


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: f"{t.runtime}-{t.hardware}")
def test_weights_use_the_targets_integers(prepared: Any, activations: Statistics, target: Target) -> None:
    values = constants(static(prepared, activations, target))
    weights = {name: value for name, value in values.items() if name.endswith("weight_quantized")}
    assert len(weights) >= 4
    most = 64 if target.hardware is Hardware.X86 else 127
    for name, value in weights.items():
        assert value.dtype == np.int8
        assert int(np.abs(value.astype(int)).max()) == most, name
        assert values[name.replace("_quantized", "_scale")].shape == (value.shape[0],)


def test_tensorrt_gets_symmetric_activations_and_a_float_bias(prepared: Any, activations: Statistics) -> None:
    values = constants(static(prepared, activations, TARGETS[-1]))
    assert all(not value.any() for name, value in values.items() if name.endswith("zero_point"))
    assert not any(name.endswith("bias_quantized") for name in values)


def test_excluded_nodes_stay_float(prepared: Any, activations: Statistics) -> None:
    excluded = qdq.excluded_nodes(prepared, Exclusions(op_types=["Gemm"], nodes=["*conv2d_1"]))
    assert len(excluded) == 3
    nodes = qdq.quantizable_nodes(prepared, profile_of(Target()), excluded)
    values = constants(static(prepared, activations, Target(), nodes=nodes))
    assert [name for name in values if name.endswith("weight_quantized")] == ["features.0.weight_quantized"]


@pytest.mark.parametrize(
    ("exclude", "words"),
    [(Exclusions(op_types=["Softmax"]), "has no Softmax; it has Conv"), (Exclusions(nodes=["/head/*"]), "no node")],
)
def test_exclusions_that_name_nothing_are_refused(prepared: Any, exclude: Exclusions, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        qdq.excluded_nodes(prepared, exclude)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_narrow_weights_have_so_many_values(
    prepared: Any, activations: Statistics, bits: int, per_channel: bool
) -> None:
    values = constants(static(prepared, activations, Target(), bits=bits, per_channel=per_channel))
    most = 2 ** (bits - 1) - 1
    for name, value in values.items():
        if name.endswith("weight_quantized"):
            assert int(np.abs(value.astype(int)).max()) == most, name


def test_narrow_weights_are_the_least_squares_ones(prepared: Any, activations: Statistics) -> None:
    """No other clipping of the same channel is clearly better."""
    values = constants(static(prepared, activations, Target(), bits=3))
    levels = Levels.of(3, signed=True, symmetric=True)

    def cost(row: np.ndarray, scale: float) -> float:
        return float(((fake_quantize(row, scale, 0, levels) - row) ** 2).mean())

    for weight in weights_of(prepared):
        for channel, row in enumerate(np.moveaxis(weight.values, weight.axis, 0)):
            widest = float(np.abs(row).max()) / levels.greatest
            others = [cost(row, widest * share) for share in np.linspace(0.1, 1, 60)]
            chosen = cost(row, float(values[f"{weight.tensor.name}_scale"][channel]))
            assert chosen <= 1.02 * min(others), (weight.tensor.name, channel)


@pytest.mark.parametrize("bits", [8, 4])
def test_weight_only_keeps_the_function(prepared: Any, bits: int) -> None:
    model = qdq.weight_only(prepared, bits, qdq.packable_nodes(prepared, []))
    assert model is not None
    x = np.random.default_rng(4).normal(size=(9, 1, 8, 8)).astype(np.float32)
    expected = session.session(prepared).run(None, {"images": x})[0]
    scores = session.session(model).run(None, {"images": x})[0]
    noise = np.sqrt(((scores - expected) ** 2).mean() / (expected**2).mean())
    assert 0 < noise < (0.02 if bits == 8 else 0.2)
    assert len(model.SerializeToString()) < len(prepared.SerializeToString()) * (0.4 if bits == 8 else 0.5)


def test_dynamic_leaves_convolutions_alone(prepared: Any) -> None:
    model = qdq.dynamic(prepared, profile_of(Target()), qdq.dynamic_nodes(prepared, []))
    assert qdq.operators(model)["MatMulInteger"] == 2
    assert qdq.operators(model)["Conv"] == 2
    gemms = qdq.excluded_nodes(prepared, Exclusions(op_types=["Gemm"]))
    assert qdq.dynamic_nodes(prepared, gemms) == []


def test_what_a_target_cannot_have_is_said() -> None:
    assert "Q/DQ only" in str(impossible(Rung.DYNAMIC, TARGETS[-1], 8))
    assert "MatMulNBits" in str(impossible(Rung.WEIGHT_ONLY_INT4, TARGETS[3], 8))
    assert "3-bit" in str(impossible(Rung.DYNAMIC, Target(), 3))
    assert impossible(Rung.DYNAMIC, Target(), 8) is None
