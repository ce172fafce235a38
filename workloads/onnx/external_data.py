"""Constants that stay in their files: how a model of more than 2 GB is held, read, run from and written.

Protobuf takes no message of 2 GB, and a machine that holds such a model twice seldom holds anything else. So only the
graph is in memory; its large constants are external data with the absolute path of their file as location, which no
file from outside may have (onnx_data refuses it), and are read one by one, a part at a time.
"""

import math
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

LEAST = 1 << 16  # bytes of a constant that is worth a place in the file
PART = 64 << 20  # bytes of a constant that are looked at together
ALIGNED = mmap.ALLOCATIONGRANULARITY
EXTERNAL = 1  # onnx.TensorProto.EXTERNAL


def held(model: Any) -> bool:
    """Tell whether any of a model's constants is in a file."""
    return not isinstance(model, bytes) and any(_outside(tensor) for tensor in model.graph.initializer)


def hold(model: "onnx.ModelProto", folder: Path) -> None:
    """Hold a graph that was read without its external data from this folder; small constants are loaded."""
    from onnx.external_data_helper import load_external_data_for_tensor

    from workloads.onnx import model_files

    for tensor in model.graph.initializer:
        if _outside(tensor) and _bytes(tensor) >= LEAST:
            _entry(tensor, "location", str((folder / _value(tensor, "location")).resolve()))
    for tensor in model_files.external(model):
        if not file_of(tensor).is_absolute():
            load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = tensor.DEFAULT
            del tensor.external_data[:]


def values(tensor: Any) -> "Array":
    """A constant as numpy; of one in a file a view, whose pages are given back with it."""
    from onnx import helper, numpy_helper

    if not _outside(tensor):
        return np.asarray(numpy_helper.to_array(tensor))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    start = int(_value(tensor, "offset") or 0)
    return np.memmap(_value(tensor, "location"), dtype, "r", start, tuple(tensor.dims))


def parts(tensor: Any) -> "Iterator[Array]":
    """All elements, flat, PART bytes at a time."""
    flat = values(tensor).reshape(-1)
    step = max(1, PART // max(1, flat.itemsize))
    for begin in range(0, flat.size, step):
        # Mapped anew for each part: what was read once is not kept.
        yield values(tensor).reshape(-1)[begin : begin + step] if _outside(tensor) else flat[begin : begin + step]


class Writer:
    """A file of constants that grows tensor by tensor. `path` is written whole or not at all, by `close`."""

    def __init__(self, path: Path) -> None:
        self._path, self._staged = path, path.with_name(f".{path.name}.partial")
        self._stream = self._staged.open("wb")

    def place(self, tensor: Any, pieces: "Iterator[Array]") -> None:
        """Write a constant's elements, in pieces, and let the tensor say where they are."""
        self._stream.write(b"\0" * (-self._stream.tell() % ALIGNED))
        start = self._stream.tell()
        for piece in pieces:
            np.ascontiguousarray(piece).tofile(self._stream)
        length = self._stream.tell() - start
        tensor.ClearField("raw_data")
        tensor.data_location = EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", str(self._path.resolve())), ("offset", str(start)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    def close(self) -> None:
        """Sync the file and give it its name: it is there for good once this returns."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._staged.rename(self._path)


def data_of(path: Path) -> list[Path]:
    """The file of constants beside a model that `save` wrote; none for a model in one file."""
    data = path.with_name(f"{path.name}.data")
    return [data] if data.is_file() else []


def save(model: "onnx.ModelProto", path: Path) -> None:
    """Write a model that is held: its constants too, unless they are in this folder already."""
    folder = path.parent.resolve()
    own = [tensor for tensor in model.graph.initializer if _outside(tensor)]
    if any(Path(_value(tensor, "location")).parent != folder for tensor in own):
        writer = Writer(path.with_name(f"{path.name}.data"))
        for tensor in own:
            writer.place(tensor, parts(tensor))
        writer.close()
    write_graph(model, path)


def write_graph(model: "onnx.ModelProto", path: Path) -> None:
    """Write the graph alone, beside its constants; the same bytes for the same model."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for tensor in copied.graph.initializer:
        if _outside(tensor):
            _entry(tensor, "location", Path(_value(tensor, "location")).name)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(copied.SerializeToString(deterministic=True))
    staged.rename(path)


def file_of(tensor: Any) -> Path:
    """The file of a constant that is in one."""
    return Path(_value(tensor, "location"))


def folder_of(model: Any) -> Path:
    """Folder of a held model's constants; all are in one folder, since a session is opened there."""
    return next(Path(_value(tensor, "location")).parent for tensor in model.graph.initializer if _outside(tensor))


def copy(path: Path, target: Path) -> None:
    """Copy a saved model with its constants; the data keeps the name that the graph knows it by."""
    shutil.copyfile(path, target)
    for name in locations(path):
        shutil.copyfile(path.parent / name, target.parent / name)


def locations(path: Path) -> list[str]:
    """Names of the files that hold a saved model's constants."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return sorted({_value(tensor, "location") for tensor in graph.initializer if _outside(tensor)})


def _outside(tensor: Any) -> bool:
    return bool(tensor.data_location == EXTERNAL)


def _bytes(tensor: Any) -> int:
    from onnx import helper

    count: int = math.prod(tensor.dims)
    return count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _value(tensor: Any, key: str) -> str:
    return next((str(entry.value) for entry in reversed(tensor.external_data) if entry.key == key), "")


def _entry(tensor: Any, key: str, value: str) -> None:
    for entry in tensor.external_data:
        if entry.key == key:
            entry.value = value
