"""Which data sets are there, and what does one look like?

The registry; read by trainer, quantizer (calibration) and tests.

Every data set yields 8-bit images of one size, values 0 to 255, split into training and held-out samples. The split
depends on the data alone and never on the job's seed, so what one job held out no other job has trained on.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slipway.api.artifact import DatasetReference, Preprocessing
from slipway.api.sources import DatasetChoice
from workloads import own_code
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.data.text import TextSet

    Pixels = npt.NDArray[np.uint8]
    Labels = npt.NDArray[np.int64]

# Any constant will do; changing it would move samples between training and held-out sets of models that exist.
SPLIT_SEED = 20170828


class Samples(Protocol):
    """Samples by index: what the model gets, and what it should answer."""

    def __len__(self) -> int:
        """How many."""

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[Any], npt.NDArray[Any]]":
        """Two arrays whose first axis is the sample."""


class Images(Samples, Protocol):
    """Pictures with a class each."""

    def batch(self, indices: Sequence[int]) -> "tuple[Pixels, Labels]":
        """uint8 [n, channels, height, width] and int64 [n]."""


@dataclass(frozen=True)
class InMemory:
    """Images that fit in memory as they are."""

    pixels: "Pixels"
    labels: "Labels"

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int]) -> "tuple[Pixels, Labels]":
        """uint8 [n, channels, height, width] and int64 [n]."""
        chosen = np.asarray(indices, dtype=np.int64)
        return self.pixels[chosen], self.labels[chosen]


@dataclass(frozen=True)
class Part:
    """Some samples of another set."""

    whole: Samples
    indices: "npt.NDArray[np.int64]"

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[Any], npt.NDArray[Any]]":
        """As the whole set gives them."""
        return self.whole.batch(self.indices[np.asarray(indices, dtype=np.int64)].tolist())


@dataclass(frozen=True)
class Subset:
    """Some pictures of another set."""

    whole: Images
    indices: "npt.NDArray[np.int64]"

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> "tuple[Pixels, Labels]":
        """uint8 [n, channels, height, width] and int64 [n]."""
        return self.whole.batch(self.indices[np.asarray(indices, dtype=np.int64)].tolist())


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images: mirror left-right, shift by up to `shift` pixels, with zeros from outside;
    with boxes, scale by `scale` at most up or down, and shift as far as that makes room.
    """

    flip: bool = False
    shift: int = 0
    scale: float = 0.0


@dataclass(frozen=True)
class DataSet:
    """Training and held-out images of one size, and what is to be known of them."""

    training: Images
    held_out: Images
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    augmentation: Augmentation
    reference: DatasetReference


class DataModule(Protocol):
    """What a file of this folder offers that holds pictures."""

    load: Callable[[str | None], DataSet]


class ChosenModule(Protocol):
    """What the other files of this folder offer."""

    load: "Callable[[DatasetChoice], DataSet | TextSet]"


DATASETS = {
    "digits": "workloads.data.digits",
    "fashion-mnist": "workloads.data.fashion_mnist",
    "cifar10": "workloads.data.cifar10",
    "image-folder": "workloads.data.image_folder",
    "shapes": "workloads.data.shapes",
    "yolo-folder": "workloads.data.yolo_folder",
}
CHOSEN = {
    "text-files": "workloads.data.text_files",
    "text-table": "workloads.data.text_table",
    "hugging-face": "workloads.data.hugging_face",
    "synthetic": "workloads.data.synthetic",
}


def load(choice: DatasetChoice) -> DataSet:
    """Pictures that the recipe names, `limit` applied. BadInput when they are not there or not what they should be."""
    found = open_set(choice)
    if not isinstance(found, DataSet):
        raise BadInput(f"the data set {choice.name} holds no pictures: choose another")
    return found


def open_set(choice: DatasetChoice) -> "DataSet | TextSet":
    """The data set that the recipe names, `limit` applied. BadInput when it is not there or not what it should be."""
    data = _open(choice)
    if choice.limit is None or choice.limit >= len(data.training):
        return data
    # Shuffled, because folders come sorted by class.
    kept = np.sort(np.random.RandomState(SPLIT_SEED).permutation(len(data.training))[: choice.limit]).astype(np.int64)
    reference = data.reference.model_copy(update={"training_samples": len(kept)})
    if isinstance(data, DataSet):
        return replace(data, training=Subset(data.training, kept), reference=reference)
    return replace(data, training=Part(data.training, kept), reference=reference)


def _open(choice: DatasetChoice) -> "DataSet | TextSet":
    name = choice.name.value
    if name in DATASETS:
        pictures: DataModule = importlib.import_module(DATASETS[name])
        return pictures.load(choice.uri)
    if name in CHOSEN:
        module: ChosenModule = importlib.import_module(CHOSEN[name])
        return module.load(choice)
    if choice.callable is None:
        raise BadInput(f"no data set {name!r}: choose one of {', '.join((*DATASETS, *CHOSEN))}")
    from workloads.data.text import TextSet

    found = own_code.call(choice.callable, own_code.decoded(choice.arguments))
    if not isinstance(found, DataSet | TextSet):
        raise BadInput(
            f"{choice.callable} returned {type(found).__name__}, expected workloads.data's DataSet or TextSet"
        )
    return found


def stratified_split(labels: "Labels", fraction: float) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """Indices for training and held-out, `fraction` of every class held out (at least one); a function of the labels
    only.
    """
    random = np.random.RandomState(SPLIT_SEED)  # the one generator whose stream numpy promises never to change
    held_out = [
        chosen[: max(1, round(len(chosen) * fraction))]
        for label in np.unique(labels)
        for chosen in [random.permutation(np.flatnonzero(labels == label))]
    ]
    held = np.sort(np.concatenate(held_out)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), held), held


def in_memory_preprocessing(training: "Pixels") -> Preprocessing:
    """Mean and standard deviation per channel of the training images, exactly, from their histogram."""
    _, channels, height, width = training.shape
    mean, std = [], []
    values = np.arange(256) / 255
    for channel in range(channels):
        counts = np.bincount(training[:, channel].reshape(-1), minlength=256)
        share = counts / counts.sum()
        mean.append(round(float((share * values).sum()), 6))
        std.append(round(float(np.sqrt((share * values**2).sum() - (share * values).sum() ** 2)), 6) or 1.0)
    return Preprocessing(channels=1 if channels == 1 else 3, height=height, width=width, mean=mean, std=std)
