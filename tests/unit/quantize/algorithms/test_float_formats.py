"""FP16 and FP8: what is stored, what it costs, and who cannot have it."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from slipway.api.quantization.ladder import Hardware, Rung, Runtime, Target
from slipway.api.quantization.settings import CalibrationMethod, Exclusions
from workloads.onnx import session
from workloads.quantize.algorithms import float_formats, qdq
from workloads.quantize.algorithms.target import impossible, profile_of
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.statistics import Statistics
from workloads.quantize.evaluation import answers

NVIDIA = Target(runtime=Runtime.TENSORRT, hardware=Hardware.NVIDIA)


@pytest.fixture(scope="module")
def prepared(exported: Any) -> Any:
    return qdq.prepare(exported)


def feeds() -> dict[str, np.ndarray]:
    return {"images": np.random.default_rng(4).normal(size=(64, 1, 8, 8)).astype(np.float32)}


def noise(prepared: Any, model: Any) -> float:
    scores = [session.session(one).run(None, feeds())[0] for one in (prepared, model)]
    assert scores[1].dtype == np.float32
    value = answers.sqnr_db(*scores)
    assert value is not None
    return value


def test_fp16_is_half_as_large_and_nearly_exact(prepared: Any) -> None:
    model = float_formats.half(prepared, [])
    assert len(model.SerializeToString()) < 0.56 * len(prepared.SerializeToString())
    assert noise(prepared, model) > 55


def test_fp16_leaves_excluded_nodes(prepared: Any) -> None:
    excluded = qdq.excluded_nodes(prepared, Exclusions(op_types=["Gemm"]))
    model = float_formats.half(prepared, excluded)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    assert {TensorProto.FLOAT, TensorProto.FLOAT16} == set(kinds.values())


def test_fp8_has_the_ranges_in_its_scales(prepared: Any) -> None:
    profile, activations = profile_of(NVIDIA), Statistics()
    Observer(prepared).observe(feeds(), activations)
    found = {n: ranges.find(t, CalibrationMethod.MIN_MAX, profile.activations, 99.9) for n, t in activations.items()}
    nodes = qdq.quantizable_nodes(prepared, profile, [])
    int8 = qdq.static(prepared, found, profile, nodes, per_channel=True)
    model = float_formats.float8(prepared, int8)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    reach = max(-found["images"].low, found["images"].high)
    assert float(numpy_helper.to_array(constants["images_scale"])) == pytest.approx(reach / 448, rel=1e-6)
    weights = [tensor for name, tensor in constants.items() if name.endswith("weight_quantized")]
    assert len(weights) >= 4
    for weight in weights:
        assert weight.data_type == TensorProto.FLOAT8E4M3FN
        assert float(np.abs(numpy_helper.to_array(weight).astype(np.float32)).max()) == 448
    assert noise(prepared, model) > 18


def test_fp8_is_for_tensorrt_only() -> None:
    assert impossible(Rung.FP8, NVIDIA, 8) is None
    for runtime_name in (Runtime.ONNXRUNTIME, Runtime.OPENVINO):
        assert "no FP8 kernels" in str(impossible(Rung.FP8, Target(runtime=runtime_name), 8))
