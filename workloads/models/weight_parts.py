"""Parts of the tensors of safetensors files, read as they are needed.

The library maps a file as a whole. Here a process reads its own rows and no others, a bounded number of bytes at a
time: the memory is that of the part, and a device's is never more than its part either.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from workloads.errors import Corrupt

AT_ONCE = 64 << 20  # bytes
LENGTH = 8  # bytes of the number that a file begins with
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Place:
    """Place of one tensor: its file, type, shape, and the byte that it begins at."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int


class WeightParts:
    """Tensors of some files by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Corrupt for what is no safetensors file, or holds types that torch has no plain word for."""
        self.places: dict[str, Place] = {}
        for path in paths:
            self.places |= _places(path)

    def rows(self, name: str, first: int, count: int) -> torch.Tensor:
        """Rows `first` to `first + count` of a tensor, on the CPU; of a scalar its only number."""
        place = self.places[name]
        width = math.prod(place.shape[1:]) * place.dtype.itemsize
        content = bytearray(count * width)
        with place.path.open("rb", buffering=0) as file:
            file.seek(place.start + first * width)
            view = memoryview(content)
            while view:
                read = file.readinto(view)
                if not read:
                    raise Corrupt(f"{place.path}: it ends before {name} does")
                view = view[read:]
        if not content:
            return torch.empty(count, *place.shape[1:], dtype=place.dtype)
        return torch.frombuffer(content, dtype=place.dtype).reshape(count, *place.shape[1:])

    def fill(self, name: str, target: torch.Tensor) -> None:
        """Copy a tensor's values into `target`, which has its shape or is this process's part of one (DTensor)."""
        own = target.to_local() if isinstance(target, DTensor) else target.detach()
        if own.numel() == 0:
            return
        shape, offset = _part(target)
        if not shape:
            own.copy_(self.rows(name, 0, 1).reshape(()))
            return
        some = max(1, AT_ONCE // max(1, math.prod(self.places[name].shape[1:]) * self.places[name].dtype.itemsize))
        for done in range(0, shape[0], some):
            read = self.rows(name, offset[0] + done, min(some, shape[0] - done))
            for axis in range(1, len(shape)):
                read = read.narrow(axis, offset[axis], shape[axis])
            own[done : done + len(read)].copy_(read)


def _part(target: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of this process's part and where it begins in the whole."""
    if not isinstance(target, DTensor):
        return tuple(target.shape), (0,) * target.ndim
    found = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
    return tuple(map(int, found[0])), tuple(map(int, found[1]))


def _places(path: Path) -> dict[str, Place]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        return {
            name: Place(path, TYPES[said["dtype"]], tuple(said["shape"]), LENGTH + length + said["data_offsets"][0])
            for name, said in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{path}: not a safetensors file of plain tensors ({error!r})") from error
