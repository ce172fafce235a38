"""Which samples does the model get, and in which batches? Calibration, comparison and evaluation read through here.

Two sources: the image data sets of the trainer, and .npz files with an array for each of the model's inputs (and
`labels`). Batches are a function of the choice of samples alone, so that shards and restarts agree on them.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slipway.api.artifact import Preprocessing, TextProcessing
from slipway.api.evaluation import Evaluation, EvaluationMetric
from slipway.api.quantization import Calibration
from workloads import data, storage
from workloads.data import Images
from workloads.data.boxes import BoxSet
from workloads.data.text import TextSet
from workloads.errors import BadInput
from workloads.export.onnx_file import Port

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = dict[str, npt.NDArray[Any]]
    Labels = npt.NDArray[np.int64]

LABELS = "labels"
BATCH_BYTES = 4 << 20  # of inputs in one call: what a model makes of them inside may be hundreds of times as much


@dataclass(frozen=True)
class Batch:
    """Inputs by name, and the classes if they are known."""

    feeds: "Feeds"
    labels: "Labels | None"

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))


class Samples(Protocol):
    """Samples by index. `digest` fixes their content, `name` is for people."""

    digest: str
    name: str
    labelled: bool
    classes: int  # of the boxes, in a data set with boxes; else 0

    def __len__(self) -> int:
        """How many."""

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """The chosen samples in lists of at most `size` that fit into one call of the model."""

    def read(self, batch: Sequence[int]) -> Batch:
        """One of these lists. BadInput for values that are not finite, naming the sample."""


class ImageSamples:
    """Images of a built-in data set, normalised as the artifact says."""

    labelled = True

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

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """In order; the last one may be shorter."""
        return [list(chosen[start : start + size]) for start in range(0, len(chosen), size)]

    def read(self, batch: Sequence[int]) -> Batch:
        """Float32 [n, c, h, w] under the model's input name."""
        pixels, labels = self._images.batch(batch)
        return Batch({self._port.name: pixels.astype(np.float32) * self._factor + self._offset}, labels)


class ArraySamples:
    """Rows of .npz files, without boxes. Files may differ in the length of any further axis: texts, say.

    Each file is checked once, and read again when its rows are wanted: one is in memory at a time.
    """

    classes = 0

    def __init__(
        self, paths: Sequence[Path], ports: Sequence[Port], name: str, *, want_labels: bool, any_labels: bool = False
    ) -> None:
        self.name = name
        self._paths, self._ports = list(paths), ports
        self._open: tuple[int, Feeds] | None = None
        lengths, self._shapes, self._row_bytes, labelled = [], [], [], []
        for path in paths:
            arrays = _arrays(path, ports, want_labels, any_labels=any_labels)
            lengths.append(len(arrays[ports[0].name]))
            self._shapes.append(tuple(arrays[port.name].shape[1:] for port in ports))
            self._row_bytes.append(sum(arrays[port.name].nbytes for port in ports) // max(1, lengths[-1]))
            labelled.append(LABELS in arrays)
        self.labelled = all(labelled)
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        content = hashlib.sha256("".join(storage.sha256_of(path) for path in paths).encode())
        self.digest = f"sha256:{content.hexdigest()}"

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _file(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """Neighbours of one shape together, fewer where they are large."""
        result: list[list[int]] = []
        shape = None
        for index in chosen:
            file = self._file(index)
            own, most = self._shapes[file], max(1, min(size, BATCH_BYTES // max(1, self._row_bytes[file])))
            if not result or own != shape or len(result[-1]) == most:
                result.append([])
                shape = own
            result[-1].append(index)
        return result

    def read(self, batch: Sequence[int]) -> Batch:
        """The rows, stacked."""
        names = [*(port.name for port in self._ports), *([LABELS] if self.labelled else [])]
        rows: dict[str, list[Any]] = {name: [] for name in names}
        for index in batch:
            file = self._file(index)
            arrays = self._arrays_of(file)
            for name in names:
                rows[name].append(arrays[name][index - int(self._starts[file])])
        feeds = {port.name: np.stack(rows[port.name]) for port in self._ports}
        return Batch(feeds, _whole(np.stack(rows[LABELS])) if self.labelled else None)

    def _arrays_of(self, file: int) -> "Feeds":
        """The file's arrays, read anew unless it is the one that was read last."""
        if self._open is None or self._open[0] != file:
            self._open = None  # before the next is read: never two at a time
            self._open = file, _loaded(self._paths[file], self._ports)
        return self._open[1]


def _whole(labels: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    return labels.astype(np.int64) if labels.dtype.kind in "iub" else labels


def _loaded(path: Path, ports: Sequence[Port]) -> "Feeds":
    """Inputs and labels of a file, and nothing else that may be in it."""
    wanted = {LABELS, *(port.name for port in ports)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name in wanted}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path.name}: not an .npz file of plain arrays ({error})") from error


def _arrays(path: Path, ports: Sequence[Port], want_labels: bool, *, any_labels: bool) -> "Feeds":
    arrays = _loaded(path, ports)
    lengths = set()
    for port in ports:
        if port.name not in arrays:
            raise BadInput(
                f"{path.name}: no array {port.name!r}; the model's inputs are {', '.join(p.name for p in ports)}"
            )
        _require_fit(path.name, port, arrays[port.name])
        lengths.add(len(arrays[port.name]))
    if LABELS in arrays:
        whole = arrays[LABELS].ndim == 1 and arrays[LABELS].dtype.kind in "iu"
        if not whole and not (any_labels and arrays[LABELS].ndim and arrays[LABELS].dtype.kind in "iufb"):
            raise BadInput(
                f"{path.name}: labels must be one whole number per sample, "
                f"found {arrays[LABELS].dtype} {arrays[LABELS].shape}"
            )
        lengths.add(len(arrays[LABELS]))
    elif want_labels:
        raise BadInput(
            f"{path.name}: no array {LABELS!r}: accuracy needs the right answers; add them, or use metric agreement"
        )
    if len(lengths) != 1:
        raise BadInput(f"{path.name}: the arrays have different numbers of samples: {sorted(lengths)}")
    return arrays


def _require_fit(file: str, port: Port, values: "npt.NDArray[Any]") -> None:
    if str(values.dtype) != port.dtype:
        raise BadInput(f"{file}: {port.name} is {values.dtype}, the model takes {port.dtype}")
    if values.ndim != len(port.shape) or any(
        want not in {None, have} for want, have in zip(port.shape[1:], values.shape[1:], strict=True)
    ):
        raise BadInput(f"{file}: {port.name} has shape {values.shape}, the model takes {port.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise BadInput(f"{file}: {port.name} of sample {row} holds values that are not finite (NaN or infinity)")


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
    return not isinstance(choice, Evaluation) or choice.metric in {EvaluationMetric.LABELS, EvaluationMetric.AGREEMENT}


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
        return _from_uri(str(choice.uri), ports, want_labels, any_labels=_any_labels(choice))
    if choice.dataset.name.value in data.CHOSEN:
        opened = data.open_set(choice.dataset)
        if isinstance(opened, TextSet):
            from workloads.quantize.token_samples import TokenSamples

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


def _from_uri(uri: str, ports: Sequence[Port], want_labels: bool, *, any_labels: bool) -> ArraySamples:
    found = storage.fetch(uri)
    paths = sorted(found.glob("*.npz")) if found.is_dir() else [found]
    if not paths:
        raise BadInput(f"{uri}: no .npz file in this folder")
    samples = ArraySamples(paths, ports, uri, want_labels=want_labels, any_labels=any_labels)
    if len(samples) == 0:
        raise BadInput(f"{uri}: no sample in it")
    return samples


def filled(feeds: "Mapping[str, npt.NDArray[Any]]", length: int) -> "Feeds":
    """The batch at exactly this length: its samples come again from the start."""
    return {name: np.concatenate([value] * -(-length // len(value)))[:length] for name, value in feeds.items()}


def choose(total: int, wanted: int, seed: int) -> list[int]:
    """`wanted` samples at random, in order of their index; a function of the numbers only."""
    # The one generator whose stream numpy promises never to change.
    return sorted(int(index) for index in np.random.RandomState(seed).permutation(total)[:wanted])
