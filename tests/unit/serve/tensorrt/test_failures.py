"""What fails at start lets the next engine try and leaves no memory; what fails in a batch is that batch's error."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.serve.tensorrt.conftest import Install
from tests.unit.serve.tensorrt.fake_cuda import Device, cudaError_t
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import engine
from workloads.serve.engines.tensorrt.engine import TensorRt
from workloads.serve.model import Model


def opened(model: Model) -> TensorRt:
    return engine.open_engine(model, Options(sizes=(1, 32)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("deserialize", "^TensorRT cannot load the engine on NVIDIA H200: deserialize: out of luck"),
        ("create_execution_context", "^TensorRT made no execution context: the device has not enough memory"),
        ("set_input_shape", r"^TensorRT's engine does not take \[32, 8\] for input 'x'"),
        (
            "set_tensor_address",
            "^TensorRT's engine does not start on NVIDIA H200: TensorRT does not take the memory for 'x'",
        ),
        ("get_tensor_shape", "^output 'y' has a shape that depends on the data"),
    ],
)
def test_what_fails_at_start_lets_the_next_engine_try(
    mlp: Model, install: Install, device: Device, bindings: str, call: str, words: str
) -> None:
    install(memory=bindings, refuses={call})
    with pytest.raises(Unavailable, match=words):
        opened(mlp)
    assert not device.memory
    assert not device.hosts
    assert call == "deserialize" or bindings == "pycuda.driver" or not device.streams


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaHostAlloc"])
def test_too_little_memory_at_start_is_said_and_all_of_it_is_given_back(
    mlp: Model, install: Install, device: Device, call: str
) -> None:
    install()
    device.fails[call] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(Unavailable, match="does not start on NVIDIA H200: CUDA: cudaErrorMemoryAllocation"):
        opened(mlp)
    assert (device.memory, device.hosts, device.streams) == ({}, {}, {})


def test_a_batch_that_cannot_start_or_fails_on_the_device_is_an_error(
    mlp: Model, install: Install, device: Device, bindings: str
) -> None:
    fake = install(memory=bindings)
    served = opened(mlp)
    x = np.ones((2, 8), np.float32)
    for name in ("cudaStreamSynchronize", "synchronize"):
        device.fails[name] = cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(RuntimeError, match=r"CUDA: .*cudaErrorIllegalAddress"):
        served.run([x])
    device.fails.clear()
    fake.refuses.add("execute_async_v3")
    with pytest.raises(RuntimeError, match="could not start the batch"):
        served.run([x])
    fake.refuses.clear()
    assert served.run([x])[0].shape == (2, 3)


def test_a_library_without_its_bindings_says_what_to_install(mlp: Model, install: Install, monkeypatch) -> None:
    install()
    monkeypatch.setattr("workloads.serve.engines.tensorrt.memory.BINDINGS", ())
    with pytest.raises(Unavailable, match="needs cuda-python or pycuda for its buffers"):
        opened(mlp)


@pytest.mark.parametrize("name", ["cudaStreamCreate", "Stream"])
def test_a_device_that_gives_no_stream_is_said(mlp: Model, install: Install, device: Device, name: str) -> None:
    memory = "pycuda.driver" if name == "Stream" else "cuda.bindings.runtime"
    install(memory=memory)
    device.fails[name] = cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(Unavailable, match=rf"got no stream: {memory}: .*cudaErrorInsufficientDriver"):
        opened(mlp)
