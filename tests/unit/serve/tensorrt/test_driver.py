"""What libcuda is asked about the GPU, by a stand-in that checks order and arguments; each failure is no GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from workloads.serve.engines.tensorrt import gpu

CALLS = [
    "cuInit",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceGetAttribute",
    "cuDriverGetVersion",
]
MAJOR, MINOR = 75, 76  # of CUdevice_attribute in cuda.h


class Libcuda:
    """libcuda with one device, number 5. `fails`: place of the call that gives an error."""

    def __init__(self, fails: int = -1, version: int = 12080) -> None:
        self.fails = fails
        self.version = version
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.names.append(name)
            if len(self.names) - 1 == self.fails:
                return 100
            getattr(self, f"_{name}")(*arguments)
            return 0

        if name.startswith("_"):
            raise AttributeError(name)
        return call

    @staticmethod
    def _cuInit(flags: int) -> None:  # noqa: N802
        assert flags == 0

    @staticmethod
    def _cuDeviceGet(device: Any, ordinal: int) -> None:  # noqa: N802
        assert ordinal == 0
        device._obj.value = 5

    @staticmethod
    def _cuDeviceGetName(name: Any, size: int, device: Any) -> None:  # noqa: N802
        assert (size, device.value) == (128, 5)
        name.value = b"NVIDIA H200 \xff"

    @staticmethod
    def _cuDeviceGetAttribute(value: Any, attribute: int, device: Any) -> None:  # noqa: N802
        assert device.value == 5
        value._obj.value = {MAJOR: 9, MINOR: 0}[attribute]

    def _cuDriverGetVersion(self, value: Any) -> None:  # noqa: N802
        value._obj.value = self.version


@pytest.mark.parametrize(("number", "words"), [(11040, "11.4"), (12080, "12.8"), (13000, "13.0"), (13010, "13.1")])
def test_the_drivers_version_is_read_as_cuda_counts_it(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libcuda(version=number))
    assert getattr(gpu.present(), "driver", None) == words


def test_the_first_device_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, opened = Libcuda(), []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: opened.append(name) or driver)
    assert gpu.present() == gpu.Gpu("NVIDIA H200 \ufffd", "sm90", "12.8")
    assert driver.names == CALLS
    assert opened == ["libcuda.so.1"]


@pytest.mark.parametrize("place", range(len(CALLS)))
def test_a_call_that_fails_is_no_gpu_and_ends_the_questions(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    driver = Libcuda(place)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert gpu.present() is None
    assert driver.names == CALLS[: place + 1]


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert gpu.present() is None
