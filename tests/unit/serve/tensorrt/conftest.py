"""A GPU that is none: fixtures put stand-ins where the engine looks for the driver, the library and the memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serve import onnx_models
from tests.unit.serve.tensorrt.fake_cuda import Device, Runtime
from tests.unit.serve.tensorrt.fake_library import Fake
from tests.unit.serve.tensorrt.fake_pycuda import Driver
from workloads.serve.engines.tensorrt import gpu
from workloads.serve.model import Model, load

SIZES = (8, 16, 3)
BINDINGS = {"cuda.bindings.runtime": Runtime, "pycuda.driver": Driver}
Install = Callable[..., Fake]


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def install(device: Device, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Function that puts a stand-in for a library in place: its name and version, and the bindings for memory."""

    def put(
        name: str = "tensorrt", version: str = "10.9.0", memory: str = "cuda.bindings.runtime", **more: Any
    ) -> Fake:
        fake = Fake(device, version, name, **more)
        there = {name: fake.module, memory: BINDINGS[memory](device)}
        real = importlib.import_module

        def found(wanted: str, package: str | None = None) -> Any:
            if wanted in there:
                return there[wanted]
            if wanted.startswith(("tensorrt", "cuda", "pycuda")) and not wanted.startswith("tensorrt."):
                raise ModuleNotFoundError(f"No module named {wanted!r}")
            return real(wanted, package)

        monkeypatch.setattr(importlib, "import_module", found)
        monkeypatch.setattr(gpu, "present", lambda: gpu.Gpu("NVIDIA H200", "sm89", "13.0"))
        return fake

    return put


@pytest.fixture(params=list(BINDINGS))
def bindings(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mlp(tmp_path: Path) -> Model:
    return load(str(onnx_models.mlp(tmp_path / "mlp.onnx", SIZES)), "mlp", "1")
