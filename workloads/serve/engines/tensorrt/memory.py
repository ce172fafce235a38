"""Page-locked host memory, device memory and a stream, from cuda-python or pycuda, whichever is installed.

Only used once a GPU is known to be there. The first device, one stream per engine instance.
"""

import importlib
import threading
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
    def __init__(self, host: Array, device: int, owner: Any = None) -> None:
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
        import ctypes

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
        """Free all."""
        for host in self._hosts:
            self._runtime.cudaFreeHost(host)
        for device in self._devices:
            self._runtime.cudaFree(device)
        self._runtime.cudaStreamDestroy(self.stream)


class PyCuda:
    """Memory by pycuda, on the device's primary context, which TensorRT uses as well."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        driver.init()
        self._context = driver.Device(0).retain_primary_context()
        self._threads = threading.local()
        self._enter()
        self._stream = driver.Stream()
        self.stream = int(self._stream.handle)

    def _enter(self) -> None:
        """Contexts are per thread: the engine is opened on one and runs on another."""
        if not getattr(self._threads, "entered", False):
            self._context.push()
            self._threads.entered = True

    def buffer(self, size: int) -> Buffer:
        """pagelocked_empty and mem_alloc."""
        self._enter()
        device = self._driver.mem_alloc(size)
        return _Pair(self._driver.pagelocked_empty(size, np.uint8), int(device), device)

    def to_device(self, buffer: Buffer, size: int) -> None:
        """memcpy_htod_async."""
        self._enter()
        self._driver.memcpy_htod_async(buffer.device, buffer.host[:size], self._stream)

    def to_host(self, buffer: Buffer, size: int) -> None:
        """memcpy_dtoh_async."""
        self._driver.memcpy_dtoh_async(buffer.host[:size], buffer.device, self._stream)

    def wait(self) -> None:
        """Stream.synchronize."""
        self._stream.synchronize()

    def close(self) -> None:
        """Buffers are freed with their last reference."""
        self._context.detach()


def open_memory() -> Memory:
    """Open memory by cuda-python or pycuda. Unavailable when neither package is installed."""
    try:
        return CudaPython(importlib.import_module("cuda.bindings.runtime"))
    except ImportError:
        pass
    try:
        return PyCuda(importlib.import_module("pycuda.driver"))
    except ImportError as error:
        raise Unavailable("TensorRT needs cuda-python or pycuda for its buffers, and neither is installed") from error
