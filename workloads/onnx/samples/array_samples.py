"""Samples that are rows of arrays in .npz or .npy files, cut into calls of neighbours with one shape."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads import storage
from workloads.errors import BadInput
from workloads.onnx.feeds import Batch, SampleCall
from workloads.onnx.file import Port
from workloads.onnx.samples import array_files
from workloads.onnx.samples.array_files import LABELS, Rows
from workloads.onnx.samples.layout import Layout, Place

if TYPE_CHECKING:
    import numpy.typing as npt

BATCH_BYTES = 4 << 20  # of inputs in one call: what a model makes of them inside may be hundreds of times as much


class ArraySamples:
    """Rows of .npz files; `boxes`: their labels are objects of pictures.

    Files may differ in the length of any further axis: texts, say.

    Each file is checked once, a part at a time, and its rows are read when they are wanted.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        ports: Sequence[Port],
        name: str,
        *,
        want_labels: bool,
        any_labels: bool = False,
        boxes: bool = False,
    ) -> None:
        self.name, self.classes = name, -1 if boxes else 0
        self._paths, self._ports = list(paths), ports
        self._wanted = (*(port.name for port in ports), LABELS)
        self._open: tuple[int, dict[str, Rows]] | None = None
        lengths, self._shapes, self._row_bytes, labelled = [], [], [], []
        self._layouts: list[Layout] = []
        for file, path in enumerate(paths):
            arrays = self._arrays_of(file)
            layout = array_files.require(path.name, arrays, ports, want_labels, any_labels=any_labels)
            if boxes and arrays[LABELS].shape[2:] != (5,):
                raise BadInput(
                    f"{path.name}: labels of shape {arrays[LABELS].shape}; boxes are [n, most, 5]: class or -1, "
                    "centre x and y, width and height in pixels"
                )
            lengths.append(layout.count)
            self._layouts.append(layout)
            self._shapes.append(tuple(arrays[port.name].shape[1:] for port in ports))
            self._row_bytes.append(sum(arrays[port.name].row_bytes for port in ports))
            labelled.append(LABELS in arrays)
        self.labelled = all(labelled)
        self.whole = any(not layout.together for layout in self._layouts)
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        digests = [storage.sha256_of(file) for path in paths for file in array_files.files_of(path, self._wanted)]
        self.digest = f"sha256:{hashlib.sha256(''.join(digests).encode()).hexdigest()}"

    def __len__(self) -> int:
        return int(self._starts[-1])

    def weight(self, index: int) -> int:
        """Bytes of a row in all inputs."""
        return self._row_bytes[self._file(index)]

    def _file(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """Neighbours of one shape together, fewer where they are large."""
        result: list[list[int]] = []
        shape = None
        for index in chosen:
            file = self._file(index)
            own, most = self._shapes[file], max(1, min(size, BATCH_BYTES // max(1, self._row_bytes[file])))
            if not result or self.whole or own != shape or len(result[-1]) == most:
                result.append([])
                shape = own
            result[-1].append(index)
        return result

    def read(self, batch: Sequence[int]) -> Batch:
        """The rows, stacked; of a sample that is a call of its own, what that call takes."""
        if self.whole:
            return self._call(batch[0])
        names = [*(port.name for port in self._ports), *([LABELS] if self.labelled else [])]
        found: dict[str, list[Any]] = {name: [] for name in names}
        for file, start, count in self._runs(batch):
            arrays = self._arrays_of(file)
            for name in names:
                found[name].append(arrays[name].take(start, count))
        feeds = {port.name: np.concatenate(found[port.name]) for port in self._ports}
        return Batch(feeds, _whole(np.concatenate(found[LABELS])) if self.labelled else None)

    def _call(self, index: int) -> Batch:
        file = self._file(index)
        arrays, layout, row = self._arrays_of(file), self._layouts[file], index - int(self._starts[file])
        feeds = SampleCall({name: _one(arrays[name], place, row) for name, place in layout.places.items()})
        if not self.labelled:
            return Batch(feeds, None)
        labels = arrays[LABELS]
        return Batch(feeds, _whole(labels.whole()[None] if array_files.of_one(layout, labels) else labels.take(row, 1)))

    def _runs(self, batch: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Rows that follow each other in a file: its number, the first row's, and how many."""
        run: tuple[int, int, int] | None = None
        for index in batch:
            file = self._file(index)
            row = index - int(self._starts[file])
            if run is not None and run[0] == file and row == run[1] + run[2]:
                run = (*run[:2], run[2] + 1)
                continue
            if run is not None:
                yield run
            run = file, row, 1
        if run is not None:
            yield run

    def _arrays_of(self, file: int) -> "dict[str, Rows]":
        """The file's arrays, opened anew unless it is the one that was read last."""
        if self._open is None or self._open[0] != file:
            for array in {} if self._open is None else self._open[1].values():
                array.close()
            self._open = None  # of thousands of files one is open
            self._open = file, array_files.opened(self._paths[file], self._wanted)
        return self._open[1]


def _one(array: Rows, place: Place, row: int) -> "npt.NDArray[Any]":
    """One sample of an input, with all of the model's axes."""
    if place.own:
        return np.asarray(array.take(row, 1)[0])
    if place.axis == 0:
        return array.take(row, 1)
    values = array.whole()
    return values if place.axis is None else np.ascontiguousarray(values.take([row], place.axis))


def _whole(labels: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    return labels.astype(np.int64) if labels.dtype.kind in "iub" else labels
