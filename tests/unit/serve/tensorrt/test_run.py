"""TensorRT's run path against stand-ins that check each call: order, arguments, shapes, memory and streams."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from tests.unit.serve import onnx_models
from tests.unit.serve.tensorrt.conftest import SIZES, Install
from tests.unit.serve.tensorrt.fake_cuda import Device, cudaMemcpyKind
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import engine
from workloads.serve.engines.tensorrt.engine import TensorRt
from workloads.serve.model import Model, load

TO, BACK = cudaMemcpyKind.cudaMemcpyHostToDevice, cudaMemcpyKind.cudaMemcpyDeviceToHost


def opened(model: Model, largest: int = 32, **more: int) -> TensorRt:
    return engine.open_engine(model, Options(sizes=(1, largest), **more))


def test_it_computes_what_numpy_computes_at_every_size(mlp: Model, install: Install, bindings: str) -> None:
    install(memory=bindings)
    served = opened(mlp)
    random = np.random.default_rng(1)
    for rows in (1, 2, 31, 32, 1):
        x = random.standard_normal((rows, 8), dtype=np.float32)
        (y,) = served.run([x])
        np.testing.assert_allclose(y, onnx_models.mlp_reference(x, SIZES), rtol=1e-5, atol=1e-6)
        assert y.dtype == np.float32
    served.close()


def test_each_batch_makes_these_calls_in_this_order(mlp: Model, install: Install, device: Device) -> None:
    fake = install()
    served = opened(mlp, 4)
    (addresses,) = fake.contexts
    device.calls.clear()
    served.run([np.ones((3, 8), np.float32)])
    stream = next(iter(device.streams))
    host_in, host_out = list(device.hosts)
    assert device.calls == [
        ("set_input_shape", "x", (3, 8)),
        ("cudaMemcpyAsync", addresses["x"], host_in, 96, TO, stream),
        ("execute_async_v3", stream),
        ("cudaMemcpyAsync", host_out, addresses["y"], 36, BACK, stream),
        ("cudaStreamSynchronize", stream),
    ]


def test_each_batch_by_pycuda_leaves_no_context_on_its_thread(mlp: Model, install: Install, device: Device) -> None:
    """Pycuda ends the process when a thread ends that still has one (NVIDIA/TensorRT issues 1107 and 2357)."""
    install(memory="pycuda.driver")
    served, left = opened(mlp, 4), []

    def work() -> None:
        served.run([np.ones((3, 8), np.float32)])
        left.append(device.contexts.stack)

    device.calls.clear()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert left == [[]]
    assert [name for name in device.names if name not in {"push", "pop"}] == [
        "set_input_shape",
        "memcpy_htod_async",
        "execute_async_v3",
        "memcpy_dtoh_async",
        "synchronize",
    ]
    assert device.contexts.stack == []


def test_memory_for_the_largest_batch_is_taken_once(
    mlp: Model, install: Install, device: Device, bindings: str
) -> None:
    fake = install(memory=bindings)
    served = opened(mlp, 32)
    assert [call for call in device.calls if call[0] == "set_input_shape"] == [("set_input_shape", "x", (32, 8))]
    assert sorted(map(len, device.memory.values())) == [32 * 3 * 4, 32 * 8 * 4]
    assert {name: len(device.memory[address]) for name, address in fake.contexts[0].items()} == {"x": 1024, "y": 384}
    before = dict(device.memory)
    for rows in (32, 1, 32):
        served.run([np.ones((rows, 8), np.float32)])
    assert list(device.memory) == list(before)


def test_results_are_not_overwritten_by_the_next_batch(mlp: Model, install: Install, bindings: str) -> None:
    install(memory=bindings)
    served = opened(mlp, 4)
    x = np.ones((4, 8), np.float32)
    (first,) = served.run([x])
    kept = first.copy()
    served.run([x * 3])
    np.testing.assert_array_equal(first, kept)


def test_page_locked_memory_is_taken_without_flags(mlp: Model, install: Install, device: Device) -> None:
    install()
    opened(mlp, 4)
    taken = [call for call in device.calls if call[0] in {"cudaHostAlloc", "cudaMalloc"}]
    assert taken == [("cudaHostAlloc", 128, 0), ("cudaMalloc", 128), ("cudaHostAlloc", 48, 0), ("cudaMalloc", 48)]


def test_another_number_of_inputs_is_an_error(mlp: Model, install: Install) -> None:
    install()
    served, x = opened(mlp, 4), np.ones((1, 8), np.float32)
    for inputs in ([], [x, x]):
        with pytest.raises(ValueError, match="zip"):
            served.run(inputs)


def test_arrays_that_are_not_contiguous_arrive_as_they_are(mlp: Model, install: Install) -> None:
    install()
    served = opened(mlp, 4)
    x = np.asfortranarray(np.arange(32, dtype=np.float32).reshape(4, 8) / 32)
    np.testing.assert_allclose(served.run([x])[0], onnx_models.mlp_reference(x, SIZES), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(served.run([x[::2]])[0], onnx_models.mlp_reference(x[::2], SIZES), rtol=1e-5, atol=1e-6)


def test_two_inputs_and_outputs_keep_their_names(tmp_path: Path, install: Install) -> None:
    install()
    served = opened(load(str(onnx_models.add_sub(tmp_path / "m.onnx")), "", "1"), 4)
    one, two = np.arange(16, dtype=np.int32)[None], np.full((1, 16), 2, np.int32)
    total, difference = served.run([one, two])
    np.testing.assert_array_equal(total, one + two)
    np.testing.assert_array_equal(difference, one - two)


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL"])
def test_every_type_that_tensorrt_has_goes_through(tmp_path: Path, install: Install, kind: str) -> None:
    install()
    served = opened(load(str(onnx_models.identity(tmp_path / "m.onnx", getattr(T, kind), ("batch", 5))), "", "1"), 4)
    dtype = served._signature.inputs[0].datatype.dtype
    x = np.array([[0, 1, 1, 0, 1]]).astype(dtype)
    (y,) = served.run([x])
    assert (y.dtype, y.tolist()) == (dtype, x.tolist())


@pytest.mark.parametrize("kind", ["DOUBLE"])
def test_a_type_that_tensorrt_makes_another_of_is_refused(tmp_path: Path, install: Install, kind: str) -> None:
    """TensorRT's parser makes float32 of float64: half of each number would be read as a number of its own."""
    install()
    model = load(str(onnx_models.identity(tmp_path / "m.onnx", getattr(T, kind), ("batch", 5))), "", "1")
    with pytest.raises(Unavailable, match=r"'x' is FP64, and TensorRT's engine takes FLOAT there: export the model"):
        opened(model)


def test_an_input_that_gives_a_shape_is_refused(mlp: Model, install: Install) -> None:
    install(host=["x"])
    with pytest.raises(Unavailable, match="'x' gives a shape, which TensorRT reads on the host"):
        opened(mlp)


def test_an_engine_of_other_tensors_is_refused(mlp: Model, tmp_path: Path, install: Install, monkeypatch) -> None:
    install()
    other = load(str(onnx_models.add_sub(tmp_path / "m.onnx")), "", "1")
    plan, _ = engine.plan_for(other, Options(), "sm89")
    monkeypatch.setattr(engine, "plan_for", lambda *given: (plan, engine.EngineKey("", "sm89", "tensorrt-10.9.0", ())))
    with pytest.raises(Unavailable, match="not the tensors of the model: INPUT0, INPUT1, OUTPUT0, OUTPUT1, x, y"):
        opened(mlp)


def test_a_batch_beyond_the_profile_is_refused_and_says_what_to_set(mlp: Model, install: Install) -> None:
    install()
    served = opened(mlp, 4)
    words = (
        r"input 'x': \[5, 8\] is outside of the engine's profile, \[1, 8\] to \[4, 8\]: .*maxBatchSize.*maxAxisLength"
    )
    with pytest.raises(ValueError, match=words):
        served.run([np.ones((5, 8), np.float32)])
    assert served.run([np.ones((4, 8), np.float32)])[0].shape == (4, 3)


@pytest.mark.parametrize(("longest", "length", "taken"), [(512, 512, True), (512, 513, False), (2048, 2048, True)])
def test_a_free_axis_reaches_as_far_as_the_options_say(
    tmp_path: Path, install: Install, longest: int, length: int, taken: bool
) -> None:
    install()
    model = load(str(onnx_models.identity(tmp_path / "m.onnx", T.INT64)), "", "1")
    served = opened(model, 2, longest=longest)
    x = np.arange(2 * length).reshape(2, length)
    if taken:
        np.testing.assert_array_equal(served.run([x])[0], x)
    else:
        with pytest.raises(ValueError, match=r"\[2, 513\] is outside .* \[1, 1\] to \[2, 512\]"):
            served.run([x])


def test_it_ends_context_before_engine_before_runtime_before_memory(
    mlp: Model, install: Install, device: Device, bindings: str
) -> None:
    install(memory=bindings)
    served = opened(mlp)
    served.run([np.ones((2, 8), np.float32)])
    device.calls.clear()
    served.close()
    ends = [call[1] for call in device.calls if call[0] == "end"]
    assert ends == ["context", "engine", "runtime"]
    assert device.names[:3] == ["end"] * 3
    assert (device.memory, device.hosts) == ({}, {})
    freed = [name for name in device.names[3:] if name not in {"push", "pop"}]
    if bindings == "pycuda.driver":
        assert freed == ["free", "free_host", "free", "free_host", "detach"]
        assert device.contexts.stack == []
    else:
        assert freed == ["cudaFreeHost"] * 2 + ["cudaFree"] * 2 + ["cudaStreamDestroy"]
        assert device.streams == {}


def test_two_instances_have_streams_and_memory_of_their_own(mlp: Model, install: Install, device: Device) -> None:
    install()
    one, two = opened(mlp), opened(mlp)
    x = np.random.default_rng(2).standard_normal((4, 8), dtype=np.float32)
    before = one.run([x])[0]
    two.run([x * 2])
    assert one._memory.stream != two._memory.stream
    two.close()
    np.testing.assert_array_equal(one.run([x])[0], before)
    one.close()
    assert (device.memory, device.streams) == ({}, {})


def test_details_name_library_device_and_key(mlp: Model, install: Install) -> None:
    install(version="11.4.0.106")
    served = opened(mlp)
    assert dict(served.details) == {
        "version": "tensorrt-11.4.0.106",
        "device": "NVIDIA H200",
        "architecture": "sm89",
        "engine": engine.plan_for(mlp, Options(sizes=(32,)), "sm89")[1].digest,
    }
    assert served.name == "tensorrt"
