"""Branches, normalisation, shared tensors: a ResNet-18 with random weights through export and every rewriting."""

from typing import Any

import numpy as np
import pytest

from slipway.api.common.artifact import DType, Signature, TensorSpec
from slipway.api.quantization.ladder import Hardware, Runtime, Target
from slipway.api.quantization.settings import CalibrationMethod
from workloads.onnx import session
from workloads.quantize.algorithms import qdq
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.statistics import Statistics
from workloads.quantize.evaluation import answers, operator_precision


@pytest.fixture(scope="module")
def resnet() -> Any:
    import torch

    from workloads import models
    from workloads.export import from_torch

    torch.manual_seed(0)
    model = models.build("resnet18", {"channels": 3, "classes": 10, "small_images": True}).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2.0)
    signature = Signature(
        inputs=[TensorSpec(name="images", dtype=DType.FLOAT32, shape=["batch", 3, 32, 32])],
        outputs=[TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", 10])],
    )
    exported = from_torch.export(model, signature)
    random = np.random.default_rng(0)
    batches = [{"images": random.normal(size=(n, 3, 32, 32)).astype(np.float32)} for n in (1, 5)]
    assert from_torch.compare(model, session.session(exported), batches).difference < 1e-4
    return qdq.prepare(exported)


@pytest.mark.slow
def test_every_target(resnet: Any, tmp_path: Any) -> None:
    assert "BatchNormalization" not in qdq.operators(resnet)
    images = np.random.default_rng(1).normal(size=(12, 3, 32, 32)).astype(np.float32)
    observer, statistics = Observer(resnet), Statistics()
    observer.observe({"images": images}, statistics)
    reference = session.session(resnet).run(None, {"images": images})[0]
    integer: dict[str, int] = {}
    for target in (Target(runtime=Runtime.TENSORRT, hardware=Hardware.NVIDIA), Target()):
        profile = profile_of(target)
        found = {n: ranges.find(t, CalibrationMethod.MSE, profile.activations, 99.9) for n, t in statistics.items()}
        nodes = qdq.quantizable_nodes(resnet, profile, [])
        for per_channel in (False, True):
            model = qdq.static(resnet, found, profile, nodes, per_channel=per_channel)
            scores = session.session(model).run(None, {"images": images})[0]
            noise = answers.sqnr_db(reference, scores)
            assert noise is not None
            assert noise > 15, (target, per_channel)
            (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
            integer = operator_precision.of(tmp_path / "m.onnx", lambda _name, _op: "")["integer"]
    assert integer["QLinearConv"] == 20
    assert integer["QLinearAdd"] == 8
