"""Rows of arrays in files, read when they are wanted: members of an .npz file, compressed or not, or .npy files.

A member is a stream: rows that follow each other are read on, an earlier one begins anew. So memory holds the rows that
were asked for and nothing else, however large the file is, and whatever it says of its size.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from workloads.errors import BadInput
from workloads.onnx.file import STRING, Port
from workloads.onnx.samples.layout import Layout, layout_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

LABELS = "labels"
CHUNK = 4 << 20  # bytes that are looked at together


class Rows:
    """One array [n, ...]. BadInput for objects, and for what is cut or damaged, when it is read."""

    def __init__(self, name: str, begin: "Callable[[], IO[bytes]]") -> None:
        self._name, self._begin = name, begin
        self._stream: IO[bytes] | None = None
        self._at = 0
        self.shape, self._by_columns, self.dtype = self._reread()
        if self.dtype.hasobject:
            raise BadInput(
                f"{name}: not an .npz file of plain arrays (Python objects, which can run code when read; save texts "
                "by numpy.array(texts, dtype=str))"
            )

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def take(self, start: int, count: int) -> "Array":
        """Rows [count, ...] from `start` on."""
        if self._by_columns and len(self.shape) > 1:
            return self.whole()[start : start + count]  # rows are spread over the whole array: it is read whole
        if self._stream is None or start < self._at:
            self._reread()
        while self._at < start:
            step = max(1, min(start - self._at, CHUNK // max(1, self.row_bytes)))
            self._bytes(step * self.row_bytes)
            self._at += step
        content = self._bytes(count * self.row_bytes)
        self._at += count
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    def parts(self) -> "Iterator[tuple[int, Array]]":
        """All rows in order, CHUNK bytes at a time, each with the number of its first row."""
        step = max(1, CHUNK // max(1, self.row_bytes))
        if not self.shape:
            yield 0, self.whole()
        for start in range(0, len(self), step):
            yield start, self.take(start, min(step, len(self) - start))

    def whole(self) -> "Array":
        """Read the whole array, whatever its axes."""
        self._reread()
        content = self._bytes(math.prod(self.shape) * self.dtype.itemsize)
        self._at = len(self) + 1
        values = np.frombuffer(content, self.dtype)
        return values.reshape(self.shape[::-1]).T if self._by_columns else values.reshape(self.shape)

    def close(self) -> None:
        """Give the file back."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _reread(self) -> "tuple[tuple[int, ...], bool, np.dtype[Any]]":
        """Open the file anew and read its header: shape, order and type. The stream is then at the first row."""
        self.close()
        try:
            self._stream, self._at = self._begin(), 0
            version = npy.read_magic(self._stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            return read(self._stream)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise BadInput(f"{self._name}: not an .npz file of plain arrays ({error})") from error

    def _bytes(self, count: int) -> bytes:
        assert self._stream is not None  # noqa: S101 (whoever reads has begun)
        try:
            content = self._stream.read(count)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(f"{self._name}: not an .npz file of plain arrays ({error})") from error
        if len(content) < count:
            raise BadInput(f"{self._name}: the file ends in the middle of a row: it was cut")
        return content


def opened(path: Path, wanted: Collection[str]) -> dict[str, Rows]:
    """The arrays of an .npz file, or of a folder of .npy files, that have these names."""
    if path.is_dir():
        return {name: Rows(f"{name}.npy", _opener(path / f"{name}.npy")) for name in wanted if _in(path, name)}
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path.name}: not an .npz file of plain arrays ({error})") from error
    names = {name.removesuffix(".npy"): name for name in archive.namelist()}
    return {name: Rows(path.name, _member(archive, names[name])) for name in wanted if name in names}


def files_of(path: Path, wanted: Collection[str]) -> list[Path]:
    """Files that a digest of these arrays covers."""
    return sorted(path / f"{name}.npy" for name in wanted if _in(path, name)) if path.is_dir() else [path]


def _in(folder: Path, name: str) -> bool:
    return "/" not in name and (folder / f"{name}.npy").is_file()


def _opener(path: Path) -> "Callable[[], IO[bytes]]":
    return lambda: path.open("rb")


def _member(archive: zipfile.ZipFile, name: str) -> "Callable[[], IO[bytes]]":
    return lambda: archive.open(name)


def require(
    file: str, arrays: "Mapping[str, Rows]", ports: Sequence[Port], want_labels: bool, *, any_labels: bool
) -> Layout:
    """Layout of the samples. BadInput for arrays that are not what the model takes, or labels that fit no sample.

    `any_labels`: of another task's kind than one whole number a sample they may be.
    """
    for port in ports:
        if port.name not in arrays:
            raise BadInput(f"{file}: no array {port.name!r}; the model's inputs are {', '.join(p.name for p in ports)}")
        if _named(arrays[port.name].dtype) != port.dtype:
            raise BadInput(f"{file}: {port.name} is {arrays[port.name].dtype}, the model takes {port.dtype}")
    found = layout_of(file, arrays, ports)
    if LABELS in arrays:
        labels = arrays[LABELS]
        shape = (1, *labels.shape) if of_one(found, labels) else labels.shape
        whole = len(shape) == 1 and labels.dtype.kind in "iu"
        if not whole and not (any_labels and shape and labels.dtype.kind in "iufb"):
            raise BadInput(f"{file}: labels must be one whole number per sample, found {labels.dtype} {labels.shape}")
        if shape[0] != found.count:
            counts = sorted({shape[0], found.count})
            raise BadInput(f"{file}: the arrays have different numbers of samples: {counts}")
    elif want_labels:
        raise BadInput(
            f"{file}: no array {LABELS!r}: accuracy needs the right answers; add them, or use metric agreement"
        )
    for port in ports:
        _require_finite(file, port, arrays[port.name])
    return found


def _named(dtype: "np.dtype[Any]") -> str:
    """Name of a type as ports have it: texts of any length are strings."""
    return STRING if dtype.kind == "U" else str(dtype)


def of_one(layout: Layout, labels: Rows) -> bool:
    """Tell whether labels are those of a file that is one sample, without an axis for samples."""
    single = not any(place.own or place.axis is not None for place in layout.places.values())
    return single and (not labels.shape or labels.shape[0] != 1)


def _require_finite(file: str, port: Port, values: Rows) -> None:
    for start, part in values.parts():
        if values.dtype.kind == "f" and not np.isfinite(part).all():
            row = start + int(np.argwhere(~np.isfinite(part))[0][0]) if part.ndim else 0
            raise BadInput(f"{file}: {port.name} of sample {row} holds values that are not finite (NaN or infinity)")
