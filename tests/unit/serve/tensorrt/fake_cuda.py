"""Stand-in for a GPU's memory and stream, as cuda-python's runtime shows them.

What is put on the stream is done when somebody waits for it, and not a moment earlier; new memory is full of rubbish;
addresses that were never given out, or are too small, are an error. So what is right here by chance is rare.
"""

# ruff: noqa: N801, N802, N815  (the names are cuda-python's)

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from typing import Any

RUBBISH = 0xCD


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorIllegalAddress = 700


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Device:
    """One GPU. `calls`: each call with its arguments, in order. `fails`: name of a call -> error that it gives."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails: dict[str, cudaError_t] = {}
        self.memory: dict[int, bytearray] = {}
        self.hosts: dict[int, Any] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.contexts = threading.local()
        self._next = 0x7F00_0000_0000

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def call(self, name: str, *arguments: Any) -> cudaError_t:
        self.calls.append((name, *arguments))
        return self.fails.get(name, cudaError_t.cudaSuccess)

    def allocate(self, size: int) -> int:
        assert size > 0, "an empty allocation gives no address"
        address, self._next = self._next, self._next + size + 4096
        self.memory[address] = bytearray([RUBBISH]) * size
        return address

    def host(self, size: int) -> int:
        memory = (ctypes.c_uint8 * size).from_buffer(bytearray([RUBBISH]) * size)
        self.hosts[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def stream(self) -> int:
        handle = 0x5000 + len(self.streams)
        self.streams[handle] = []
        return handle

    def read(self, address: int, size: int) -> bytes:
        """Bytes of device memory; KeyError for an address that is none, AssertionError beyond its end."""
        assert size <= len(self.memory[address]), f"{size} bytes are read of {len(self.memory[address])}"
        return bytes(self.memory[address][:size])

    def write(self, address: int, data: bytes) -> None:
        assert len(data) <= len(self.memory[address]), f"{len(data)} bytes into {len(self.memory[address])}"
        self.memory[address][: len(data)] = data

    def put(self, stream: int, work: Callable[[], None]) -> None:
        self.streams[stream].append(work)

    def synchronize(self, stream: int) -> None:
        while self.streams[stream]:
            self.streams[stream].pop(0)()

    def idle(self) -> bool:
        return not any(self.streams.values())


class Runtime:
    """The part of `cuda.bindings.runtime` that is used: each call gives a tuple whose first element is the error."""

    cudaMemcpyKind = cudaMemcpyKind

    def __init__(self, device: Device) -> None:
        self._device = device

    def cudaGetErrorString(self, error: cudaError_t) -> tuple[Any, ...]:
        return (cudaError_t.cudaSuccess, error.name.encode())

    def cudaStreamCreate(self) -> tuple[Any, ...]:
        return self._made(self._device.stream, "cudaStreamCreate")

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._made(lambda: self._device.host(size), "cudaHostAlloc", size, flags)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._made(lambda: self._device.allocate(size), "cudaMalloc", size)

    def _made(self, make: Callable[[], int], *call: Any) -> tuple[Any, ...]:
        error = self._device.call(*call)
        return (error, None) if error else (error, make())

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any, ...]:
        device = self._device
        error = device.call("cudaMemcpyAsync", to, source, size, kind, stream)
        if error:
            return (error,)
        if kind is cudaMemcpyKind.cudaMemcpyHostToDevice:
            # Read when the stream comes to it, as page-locked memory is: what is overwritten before is lost.
            assert source in device.hosts, "the source is no page-locked memory"
            device.put(stream, lambda: device.write(to, ctypes.string_at(source, size)))
        else:
            assert kind is cudaMemcpyKind.cudaMemcpyDeviceToHost, kind
            assert size <= len(device.hosts[to])
            device.put(stream, lambda: ctypes.memmove(to, device.read(source, size), size) and None)
        return (error,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        error = self._device.call("cudaStreamSynchronize", stream)
        if error:
            self._device.streams[stream].clear()
        self._device.synchronize(stream)
        return (error,)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        return self._freed("cudaFreeHost", self._device.hosts, ptr)

    def cudaFree(self, ptr: int) -> tuple[Any, ...]:
        return self._freed("cudaFree", self._device.memory, ptr)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._freed("cudaStreamDestroy", self._device.streams, stream)

    def _freed(self, name: str, place: dict[int, Any], address: int) -> tuple[Any, ...]:
        assert self._device.idle(), "freed while the stream may still use it"
        self._device.call(name, address)
        del place[address]
        return (cudaError_t.cudaSuccess,)
