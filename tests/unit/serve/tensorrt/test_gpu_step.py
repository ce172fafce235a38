"""The step of `make gpu` that runs TensorRT, with stand-ins in the GPU's place: every line of it but the GPU's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.gpu import engines
from tests.unit.serve.tensorrt.conftest import Install
from tests.unit.serve.tensorrt.fake_cuda import Device
from workloads.serve.model import load


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8", "2:4"])
def test_each_variant_is_built_run_and_compared(
    tmp_path: Path, install: Install, device: Device, bindings: str, variant: str
) -> None:
    fake = install(memory=bindings)
    layers = engines.weights((16, 32, 8), variant == "2:4")
    x = np.random.default_rng(1).standard_normal((4, 16), dtype=np.float32)
    y, _ = engines.eager(layers, x, "cpu")
    model = load(str(engines.write(tmp_path / "m.onnx", layers, variant, x)), "", "1")
    given = x.astype(model.signature.inputs[0].datatype.dtype)
    row = engines.tensorrt(model, given, y, variant, engines.VARIANTS[variant], "cuda", True)
    assert row["ok"], row
    assert row["library"] == "tensorrt-10.9.0"
    assert fake.plans[0].flags == (["SPARSE_WEIGHTS"] if variant == "2:4" else [])
    assert not device.memory
