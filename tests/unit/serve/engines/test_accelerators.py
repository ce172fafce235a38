"""A pod that asks for a GPU is not served by the CPU without a word: refused, unless the user says that it will do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.api.serving.engine import EngineName
from slipway.api.serving.inferenceservice import spec_problems
from tests.unit.serve import onnx_models
from workloads.errors import BadInput
from workloads.serve.engines import choose, onnx_runtime
from workloads.serve.engines.engine import OnCpu, Options, Unavailable
from workloads.serve.loading import load_and_warm_up
from workloads.serve.settings import from_document

GPU = {"limits": {"nvidia.com/gpu": 1}}


def service(folder: Path, resources: dict[str, Any], **engine: Any) -> Path:
    onnx_models.mlp(folder / "model.onnx", (4, 8, 2))
    predictor = {"model": {"uri": folder.as_uri()}, "engine": {"threads": 1, **engine}, "resources": resources}
    path = folder / "service.json"
    content = {"kind": "InferenceService", "metadata": {"name": "m"}, "spec": {"predictor": predictor}}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu"])
def test_auto_takes_no_engine_on_the_cpu_beside_a_gpu(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput) as told:
        load_and_warm_up(from_document(service(tmp_path, {"limits": {name: 2}})))
    words = str(told.value)
    assert f"the pod asks for 2 {name}" in words
    assert "onnxruntime has only its CPU provider here" in words
    assert "openvino" not in words, "an engine for the CPU alone is not tried"
    assert "engine.fallback" in words


@pytest.mark.parametrize(
    "engine",
    [
        {"name": "auto", "fallback": ["onnxruntime"]},
        {"name": "tensorrt", "fallback": ["onnxruntime"]},
        {"name": "onnxruntime", "provider": "CPUExecutionProvider"},
        {"name": "openvino"},
    ],
)
def test_it_degrades_where_the_user_says_so(tmp_path: Path, engine: dict[str, Any]) -> None:
    loaded = load_and_warm_up(from_document(service(tmp_path, GPU, **engine)))
    assert loaded.engines[0].name in {"onnxruntime", "openvino"}
    loaded.engines[0].close()


def test_a_named_engine_is_no_leave_to_use_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has only its CPU provider here"):
        load_and_warm_up(from_document(service(tmp_path, GPU, name="onnxruntime")))


@pytest.mark.parametrize("resources", [{}, {"limits": {"cpu": "1"}}, {"limits": {"nvidia.com/gpu": 0}}])
def test_without_an_accelerator_all_is_as_before(tmp_path: Path, resources: dict[str, Any]) -> None:
    loaded = load_and_warm_up(from_document(service(tmp_path, resources)))
    assert loaded.engines[0].name == "onnxruntime"
    loaded.engines[0].close()


def test_a_provider_that_onnx_runtime_leaves_out_in_silence_is_refused() -> None:
    """CUDA's provider is in the wheel, its libraries are not in the image: the session has the CPU alone."""
    with pytest.raises(Unavailable, match="could not start CUDAExecutionProvider here"):
        onnx_runtime._check(["CPUExecutionProvider"], Options(providers=("CUDAExecutionProvider",)))
    with pytest.raises(OnCpu, match=r"asks for 1 nvidia\.com/gpu"):
        onnx_runtime._check(["CPUExecutionProvider"], Options(accelerator="1 nvidia.com/gpu"))
    onnx_runtime._check(["CUDAExecutionProvider", "CPUExecutionProvider"], Options(accelerator="1 nvidia.com/gpu"))


def test_the_order_beside_an_accelerator() -> None:
    found = choose.order(EngineName.AUTO, [EngineName.OPENVINO], "1 nvidia.com/gpu")
    assert found == [EngineName.TENSORRT, EngineName.ONNXRUNTIME, EngineName.TORCH, EngineName.OPENVINO]


@pytest.mark.parametrize(
    "name", ["habana.ai/gaudi", "gpu.intel.com/i915", "aws.amazon.com/neuron", "huawei.com/Ascend910"]
)
def test_an_accelerator_that_no_engine_knows_is_refused_at_admission(name: str) -> None:
    predictor: dict[str, Any] = {"model": {"uri": "pvc://m/a"}, "resources": {"limits": {name: "1"}}}
    assert any(
        "no engine of Slipway's images computes on" in words
        for words in spec_problems("m", {"predictor": predictor})[1]
    )
    assert not spec_problems("m", {"predictor": {**predictor, "image": "registry.example.com/own:1"}})[1]
