"""Page-locked host memory, device memory and a stream, from cuda-python or pycuda, whichever is installed.

Only used once a GPU is known to be there. The first device, one stream per engine instance.
"""

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from workloads.serve.datatypes import Array
from workloads.serve.engines.engine import Unavailable


class Buffer(Protocol):
    """The same bytes on both sides."""

    host: Array
    device: int


class Memory(Protocol):
    """One stream and the buffers that are used on it."""

    stream: int

    def buffer(self, size: int) -> Buffer:
        """Room for `size` bytes; `host` is uint8 [size]."""

    def to_device(self, buffer: Buffer, size: int) -> None:
        """Copy the first `size` bytes, in order with the stream."""

    def to_host(self, buffer: Buffer, size: int) -> None:
        """Copy the first `size` bytes back, in order with the stream."""

    def wait(self) -> None:
        """Wait until everything on the stream is done. RuntimeError when something on it has failed."""

    def close(self) -> None:
        """Give everything back."""


class _Pair:
    def __init__(self, host: Any, device: int, owner: Any = None) -> None:
        self.host = host
        self.device = device
        self.owner = owner


class CudaPython:
    """Memory by NVIDIA's own bindings, cuda-python."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._hosts: list[int] = []
        self._devices: list[int] = []
        self.stream = int(self._call(runtime.cudaStreamCreate()))

    def _call(self, result: tuple[Any, ...]) -> Any:
        if int(result[0]) != 0:
            _, words = self._runtime.cudaGetErrorString(result[0])
            raise RuntimeError(f"CUDA: {words.decode()}")
        return result[1] if len(result) > 1 else None

    def buffer(self, size: int) -> Buffer:
        """cudaHostAlloc and cudaMalloc."""
        host = int(self._call(self._runtime.cudaHostAlloc(size, 0)))
        self._hosts.append(host)
        device = int(self._call(self._runtime.cudaMalloc(size)))
        self._devices.append(device)
        raw = (ctypes.c_uint8 * size).from_address(host)
        return _Pair(np.ctypeslib.as_array(raw), device)

    def _copy(self, to: int, source: int, size: int, kind: Any) -> None:
        self._call(self._runtime.cudaMemcpyAsync(to, source, size, kind, self.stream))

    def to_device(self, buffer: Buffer, size: int) -> None:
        """cudaMemcpyAsync."""
        self._copy(buffer.device, buffer.host.ctypes.data, size, self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def to_host(self, buffer: Buffer, size: int) -> None:
        """cudaMemcpyAsync."""
        self._copy(buffer.host.ctypes.data, buffer.device, size, self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def wait(self) -> None:
        """cudaStreamSynchronize."""
        self._call(self._runtime.cudaStreamSynchronize(self.stream))

    def close(self) -> None:
        """Free all. A device that has failed fails here as well, and that changes nothing."""
        for host in self._hosts:
            self._runtime.cudaFreeHost(host)
        for device in self._devices:
            self._runtime.cudaFree(device)
        self._runtime.cudaStreamDestroy(self.stream)


class PyCuda:
    """Memory by pycuda, on the device's primary context, which TensorRT uses as well."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._pairs: list[_Pair] = []
        driver.init()
        self._context = driver.Device(0).retain_primary_context()
        with self._current():
            self._stream: Any = driver.Stream()
        self.stream = int(self._stream.handle)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Contexts are per thread: the engine is opened on one and runs on another.

        A thread that ends with one on its stack makes pycuda abort the process (NVIDIA/TensorRT issue 1107).
        """
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def buffer(self, size: int) -> Buffer:
        """pagelocked_empty and mem_alloc."""
        with self._current():
            device = self._driver.mem_alloc(size)
            self._pairs.append(_Pair(self._driver.pagelocked_empty(size, np.uint8), int(device), device))
            return self._pairs[-1]

    def to_device(self, buffer: Buffer, size: int) -> None:
        """memcpy_htod_async."""
        with self._current():
            self._driver.memcpy_htod_async(buffer.device, buffer.host[:size], self._stream)

    def to_host(self, buffer: Buffer, size: int) -> None:
        """memcpy_dtoh_async."""
        with self._current():
            self._driver.memcpy_dtoh_async(buffer.host[:size], buffer.device, self._stream)

    def wait(self) -> None:
        """Stream.synchronize."""
        with self._current():
            try:
                self._stream.synchronize()
            except self._driver.Error as error:
                raise RuntimeError(f"CUDA: {error}") from error

    def close(self) -> None:
        """Free all while the context is there, whoever still refers to a buffer; then the context."""
        with self._current():
            for pair in self._pairs:
                pair.owner.free()
                pair.host.base.free()
            self._pairs.clear()
            self._stream = None
        self._context.detach()


# By these names: cuda-python's, before and since 12.6; then pycuda.
BINDINGS = (("cuda.bindings.runtime", CudaPython), ("cuda.cudart", CudaPython), ("pycuda.driver", PyCuda))


def open_memory() -> Memory:
    """Open memory by cuda-python or pycuda. Unavailable when neither is installed, or the device gives none."""
    reasons = []
    for name, memory in BINDINGS:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        try:
            return memory(library)
        except Exception as error:
            reasons.append(f"{name}: {error}")
    if reasons:
        raise Unavailable(f"TensorRT got no stream: {'; '.join(reasons)}")
    raise Unavailable("TensorRT needs cuda-python or pycuda for its buffers, and neither is installed")
