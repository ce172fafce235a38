"""Stand-in for `pycuda.driver` on the same device: contexts lie on a stack for each thread, and each call needs one."""
# ruff: noqa: N802  (the names are pycuda's)

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.unit.serve.tensorrt.fake_cuda import Device


class PyCudaError(Exception):
    """`pycuda.driver.Error`."""


class Driver:
    """The part of `pycuda.driver` that is used."""

    Error = PyCudaError

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def stack(self) -> list[Any]:
        if not hasattr(self._device.contexts, "stack"):
            self._device.contexts.stack = []
        stack: list[Any] = self._device.contexts.stack
        return stack

    def needs(self, name: str, *arguments: Any) -> Device:
        if not self.stack:
            raise PyCudaError("invalid device context")
        if error := self._device.call(name, *arguments):
            raise PyCudaError(f"{name} failed: {error.name}")
        return self._device

    def init(self) -> None:
        self._device.call("init")

    def Device(self, number: int) -> SimpleNamespace:
        assert number == 0
        assert self._device.names[0] == "init"
        return SimpleNamespace(retain_primary_context=lambda: Context(self, self._device))

    def Stream(self) -> Stream:
        return Stream(self)

    def mem_alloc(self, size: int) -> Allocation:
        return Allocation(self, self.needs("mem_alloc", size).allocate(size))

    def pagelocked_empty(self, size: int, dtype: Any) -> Any:
        device = self.needs("pagelocked_empty", size)
        assert dtype is np.uint8
        return np.asarray(HostAllocation(self, device.host(size), size))

    def memcpy_htod_async(self, to: int, source: Any, stream: Stream) -> None:
        device = self.needs("memcpy_htod_async", to, source.nbytes)
        device.put(stream.handle, lambda: device.write(to, source.tobytes()))

    def memcpy_dtoh_async(self, to: Any, source: int, stream: Stream) -> None:
        device = self.needs("memcpy_dtoh_async", source, to.nbytes)
        device.put(stream.handle, lambda: to.__setitem__(..., np.frombuffer(device.read(source, to.nbytes), np.uint8)))


class Context:
    def __init__(self, driver: Driver, device: Device) -> None:
        self._driver, self._device = driver, device

    def push(self) -> None:
        self._device.call("push")
        self._driver.stack.append(self)

    def pop(self) -> None:
        self._device.call("pop")
        self._driver.stack.pop()

    def detach(self) -> None:
        self._device.call("detach")
        assert not self._device.memory, "device memory outlives its context"
        assert not self._device.hosts, "page-locked memory outlives its context"


class Allocation:
    def __init__(self, driver: Driver, address: int) -> None:
        self._driver, self.address = driver, address

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        device = self._driver.needs("free")
        assert device.idle(), "freed while the stream may still use it"
        del device.memory[self.address]


class HostAllocation:
    def __init__(self, driver: Driver, address: int, size: int) -> None:
        self._driver, self.address = driver, address
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}

    def free(self) -> None:
        del self._driver.needs("free_host").hosts[self.address]


class Stream:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.handle = driver.needs("Stream").stream()

    def synchronize(self) -> None:
        self._driver.needs("synchronize").synchronize(self.handle)
