"""Presence and kind of an NVIDIA GPU, asked of the driver itself: TensorRT's runtime may crash where there is none."""

import ctypes
from dataclasses import dataclass
from typing import Protocol

COMPUTE_CAPABILITY_MAJOR = 75  # CUdevice_attribute
COMPUTE_CAPABILITY_MINOR = 76


@dataclass(frozen=True)
class Gpu:
    """`architecture` such as sm89; `driver` is the CUDA version that the driver speaks, such as 13.0."""

    name: str
    architecture: str
    driver: str


class Driver(Protocol):
    """libcuda, as far as it is needed."""

    def __getattr__(self, name: str) -> "ctypes._NamedFuncPointer":
        """A function that returns 0 for success."""


def present(library: str = "libcuda.so.1") -> Gpu | None:
    """Device 0, or None without a driver or a device."""
    try:
        driver: Driver = ctypes.CDLL(library)
    except OSError:
        return None
    if driver.cuInit(0) != 0:
        return None
    device, major, minor, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    calls = (
        (driver.cuDeviceGet, (ctypes.byref(device), 0)),
        (driver.cuDeviceGetName, (name, len(name), device)),
        (driver.cuDeviceGetAttribute, (ctypes.byref(major), COMPUTE_CAPABILITY_MAJOR, device)),
        (driver.cuDeviceGetAttribute, (ctypes.byref(minor), COMPUTE_CAPABILITY_MINOR, device)),
        (driver.cuDriverGetVersion, (ctypes.byref(version),)),
    )
    for call, arguments in calls:
        # `device` is read only after cuDeviceGet has filled it in.
        if call(*arguments) != 0:
            return None
    spoken = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(errors="replace"), f"sm{major.value}{minor.value}", spoken)
