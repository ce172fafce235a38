"""Which samples does the model get, and in which batches? Calibration, comparison and evaluation read through here.

Two sources: the image data sets of the trainer, and .npz files with an array for each of the model's inputs (and
`labels`), or a folder with an .npy file for each. Batches are a function of the choice of samples alone, so that shards
and restarts agree on them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slipway.api.common.artifact import Preprocessing, TextProcessing
from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric
from slipway.api.quantization.settings import Calibration
from workloads import data, storage
from workloads.data import Images
from workloads.data.detection.boxes import BoxSet
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.onnx.feeds import Whole, rows_of
from workloads.onnx.file import Port
from workloads.onnx.samples import array_files
from workloads.onnx.samples.array_files import LABELS, Rows
from workloads.onnx.samples.layout import Layout, Place

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = dict[str, npt.NDArray[Any]]
    Labels = npt.NDArray[np.int64]

BATCH_BYTES = 4 << 20  # of inputs in one call: what a model makes of them inside may be hundreds of times as much


@dataclass(frozen=True)
class Batch:
    """Inputs by name, and the classes if they are known."""

    feeds: "Feeds"
    labels: "Labels | None"

    def __len__(self) -> int:
        return rows_of(self.feeds)


class Samples(Protocol):
    """Samples by index. `digest` fixes their content, `name` is for people; `whole`: each is a call of its own."""

    digest: str
    name: str
    labelled: bool
    whole: bool
    classes: int  # of the boxes, in a data set with boxes, -1 where only the model says how many; else 0

    def __len__(self) -> int:
        """How many."""

    def weight(self, index: int) -> int:
        """Bytes of a sample's inputs; 1 where all have the same."""

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """The chosen samples in lists of at most `size` that fit into one call of the model."""

    def read(self, batch: Sequence[int]) -> Batch:
        """One of these lists. BadInput for values that are not finite, naming the sample."""


class ImageSamples:
    """Images of a built-in data set, normalised as the artifact says."""

    labelled, whole = True, False

    def __init__(
        self, images: Images, preprocessing: Preprocessing, port: Port, name: str, digest: str, classes: int
    ) -> None:
        self._images, self._port, self.name, self.digest, self.classes = images, port, name, digest, classes
        shape = (1, -1, 1, 1)
        std = np.array(preprocessing.std, dtype=np.float64).reshape(shape)
        self._factor = (preprocessing.scale / std).astype(np.float32)
        self._offset = (-np.array(preprocessing.mean, dtype=np.float64).reshape(shape) / std).astype(np.float32)

    def __len__(self) -> int:
        return len(self._images)

    def weight(self, _index: int) -> int:
        """Pictures of one shape."""
        return 1

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """In order; the last one may be shorter."""
        return [list(chosen[start : start + size]) for start in range(0, len(chosen), size)]

    def read(self, batch: Sequence[int]) -> Batch:
        """Float32 [n, c, h, w] under the model's input name."""
        pixels, labels = self._images.batch(batch)
        return Batch({self._port.name: pixels.astype(np.float32) * self._factor + self._offset}, labels)


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
        feeds = Whole({name: _one(arrays[name], place, row) for name, place in layout.places.items()})
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


def calibration_samples(
    choice: Calibration,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None = None,
) -> Samples:
    """What the model is calibrated on: training samples, never held-out ones."""
    return _samples(choice, ports, preprocessing, text, held_out=False, want_labels=False)


def evaluation_samples(
    choice: Evaluation,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None = None,
    *,
    want_labels: bool,
) -> Samples:
    """What float and quantized are compared on."""
    return _samples(choice, ports, preprocessing, text, held_out=True, want_labels=want_labels)


def _any_labels(choice: Calibration | Evaluation) -> bool:
    """Whether labels may be other than a class number per sample: only another task's measure reads them."""
    return not isinstance(choice, Evaluation) or choice.metric is not EvaluationMetric.TOP1


def _samples(
    choice: Calibration | Evaluation,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None,
    *,
    held_out: bool,
    want_labels: bool,
) -> Samples:
    if choice.dataset is None:
        boxes = isinstance(choice, Evaluation) and choice.metric is EvaluationMetric.PRECISION50
        return _from_uri(str(choice.uri), ports, want_labels, any_labels=_any_labels(choice), boxes=boxes)
    if choice.dataset.name.value in data.CHOSEN:
        opened = data.open_set(choice.dataset)
        if isinstance(opened, TextSet):
            from workloads.onnx.samples.token_samples import TokenSamples

            return TokenSamples(opened, ports, text, held_out=held_out)
    if preprocessing is None or len(ports) != 1:
        raise BadInput(
            "dataset holds images, and the model does not say how it wants them: give its inputs as .npz files (uri)"
        )
    loaded = data.load(choice.dataset)
    own = loaded.preprocessing
    if (own.channels, own.height, own.width) != (preprocessing.channels, preprocessing.height, preprocessing.width):
        have, want = (
            f"{own.channels}x{own.height}x{own.width}",
            f"{preprocessing.channels}x{preprocessing.height}x{preprocessing.width}",
        )
        raise BadInput(f"dataset {loaded.reference.name} has images of {have}, the model takes {want}")
    part, word = (loaded.held_out, "held-out") if held_out else (loaded.training, "training")
    return ImageSamples(
        part,
        preprocessing,
        ports[0],
        f"{loaded.reference.name} ({word})",
        f"{loaded.reference.digest}/{word}",
        len(loaded.labels) if isinstance(loaded, BoxSet) else 0,
    )


def _from_uri(uri: str, ports: Sequence[Port], want_labels: bool, *, any_labels: bool, boxes: bool) -> ArraySamples:
    found = storage.fetch(uri)
    paths = sorted(found.glob("*.npz")) if found.is_dir() else [found]
    if not paths and any(found.glob("*.npy")):
        paths = [found]  # an array a file, by the names of the inputs
    if not paths:
        raise BadInput(f"{uri}: no .npz file in this folder, and no .npy file")
    samples = ArraySamples(paths, ports, uri, want_labels=want_labels, any_labels=any_labels, boxes=boxes)
    if len(samples) == 0:
        raise BadInput(f"{uri}: no sample in it")
    return samples


def filled(feeds: "Mapping[str, npt.NDArray[Any]]", length: int) -> "Feeds":
    """The batch at exactly this length: its samples come again from the start; a whole call as it is."""
    if isinstance(feeds, Whole):
        return feeds
    return {name: np.concatenate([value] * -(-length // len(value)))[:length] for name, value in feeds.items()}


def choose(total: int, wanted: int, seed: int) -> list[int]:
    """`wanted` samples at random, in order of their index; a function of the numbers only."""
    # The one generator whose stream numpy promises never to change.
    return sorted(int(index) for index in np.random.RandomState(seed).permutation(total)[:wanted])
