"""The stand-ins speak what real libraries have: every call exists there, with these arguments in this order."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from onnx import TensorProto as T

from tests.unit.serve import onnx_models
from tests.unit.serve.tensorrt import fake_cuda, fake_library

PAIRS = {
    fake_library.Builder: "Builder",
    fake_library.Config: "IBuilderConfig",
    fake_library.Profile: "IOptimizationProfile",
    fake_library.Parser: "OnnxParser",
    fake_library.Runtime: "Runtime",
    fake_library.Engine: "ICudaEngine",
    fake_library.Context: "IExecutionContext",
}
METHODS = [
    (fake, real, name)
    for fake, real in PAIRS.items()
    for name, member in vars(fake).items()
    if not name.startswith("_") and callable(member)
]


def count(words: str, name: str) -> set[int]:
    """Numbers of arguments beside self that the signatures in a docstring of pybind11 have."""
    found = re.findall(rf"{name}\((self: .*)\) -> ", words)
    counts = {len(re.findall(r"\b\w+: ", re.sub(r"\[[^\]]*\]|<[^>]*>", "", one))) - 1 for one in found}
    return counts | {0} if " = " in " ".join(found) else counts


@pytest.mark.parametrize(("fake", "real", "name"), METHODS, ids=[f"{real}.{name}" for _, real, name in METHODS])
def test_every_call_of_the_stand_in_is_one_of_the_library(fake: type, real: str, name: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
    given = len(inspect.signature(getattr(fake, name)).parameters) - 1
    assert given in count(getattr(getattr(trt, real), name).__doc__, name)


def test_every_name_of_the_stand_in_is_one_of_the_library() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
    for name in ("MemoryPoolType", "BuilderFlag", "DataType", "TensorLocation"):
        for one in getattr(fake_library, name):
            assert hasattr(getattr(trt, name), one.name), (name, one.name)
            assert getattr(getattr(trt, name), one.name).name == one.name
    assert {one.name for one in fake_library.Capability} <= set(dir(trt.ComputeCapability))
    assert {one.name for one in fake_library.Severity} <= set(dir(trt.ILogger))
    assert int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == 0
    for name in ("num_errors", "num_io_tensors"):
        assert any(hasattr(getattr(trt, kind), name) for kind in PAIRS.values())


@pytest.mark.parametrize("kind", [*fake_library.TYPES, T.INT16, T.UINT16, T.UINT32, T.UINT64])
def test_the_parser_makes_the_same_types_of_a_models(tmp_path: Any, kind: int) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
    from workloads.serve.engines.tensorrt.library import logger

    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    read = parser.parse_from_file(str(onnx_models.identity(tmp_path / "m.onnx", kind, ("batch", 4))))
    assert (network.get_input(0).dtype.name if read else None) == fake_library.TYPES.get(kind)


def test_every_call_of_the_runtime_is_one_of_cuda_python() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    takes = {"cudaStreamCreate": 0, "cudaHostAlloc": 2, "cudaMalloc": 1, "cudaMemcpyAsync": 5, "cudaFree": 1}
    takes |= {"cudaStreamSynchronize": 1, "cudaFreeHost": 1, "cudaStreamDestroy": 1, "cudaGetErrorString": 1}
    assert {name for name in vars(fake_cuda.Runtime) if name.startswith("cuda")} == {*takes, "cudaMemcpyKind"}
    for name, arguments in takes.items():
        first = (getattr(real, name).__doc__ or "").splitlines()[0]
        assert len([one for one in first.split("(")[1].rstrip(")").split(",") if one.strip()]) == arguments, first
    for enum in (fake_cuda.cudaMemcpyKind, fake_cuda.cudaError_t):
        for one in enum:
            assert int(getattr(getattr(real, enum.__name__), one.name)) == one.value


def test_cuda_python_without_a_driver_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    from workloads.serve.engines.engine import Unavailable
    from workloads.serve.engines.tensorrt import gpu
    from workloads.serve.engines.tensorrt.memory import CudaPython, open_memory

    if gpu.present() is not None:
        pytest.skip("says what happens without a driver")
    with pytest.raises(RuntimeError, match=r"CUDA: \w+"):
        CudaPython(real)
    with pytest.raises(Unavailable, match=r"got no stream: cuda\.bindings\.runtime: CUDA: .*driver"):
        open_memory()
