"""Data sets as the rest of the package sees them: samples by index, labels, preprocessing; and how they are split.

Every data set yields 8-bit images of one size, values 0 to 255, split into training and held-out samples. The split
depends on the data alone and never on the job's seed, so what one job held out no other job has trained on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.training.learning.task import TrainingTask

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.data.bad_samples import BadSamples

    Pixels = npt.NDArray[np.uint8]
    Labels = npt.NDArray[np.int64]

# Any constant will do; changing it would move samples between training and held-out sets of models that exist.
SPLIT_SEED = 20170828
LABEL_SHOWN = 60  # characters


class Samples(Protocol):
    """Samples by index: what the model gets, and what it should answer."""

    def __len__(self) -> int:
        """Number of samples."""

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
        """Batch of this part's samples, in the form in which the whole set yields it."""
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


def changes(how: Augmentation) -> str:
    """Changes of training pictures, in words."""
    said = ["mirrored at random"] if how.flip else []
    said += [f"shifted by up to {how.shift} pixels"] if how.shift else []
    said += [f"scaled by up to {how.scale:g}"] if how.scale else []
    return ", ".join(said) or "nothing is changed at random"


@dataclass(frozen=True)
class DataSet:
    """Training and held-out images of one size, and what is to be known of them."""

    training: Images
    held_out: Images
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    augmentation: Augmentation
    reference: DatasetReference
    taken: tuple[str, ...] = ()
    """What was taken of what was found, in words for the log and the report."""
    bad: "BadSamples | None" = None
    task: TrainingTask = TrainingTask.CLASSIFICATION
    """What is learned; of numbers, `labels` are their names."""


def brief(label: str) -> str:
    """A label on one line, and of a long one the beginning: a whole text may have been taken for one."""
    plain = " ".join(label.split())
    return plain if len(plain) <= LABEL_SHOWN else f"{plain[:LABEL_SHOWN]}..."


def counted(labels: Sequence[str], most: int = 10) -> str:
    """Classes and how many training samples each has, for the log and the report."""
    count = Counter(labels)
    shown = ", ".join(f"{brief(label)} {number}" for label, number in count.most_common(most))
    return f"{len(count)} classes: {shown}" + (", ..." if len(count) > most else "")


def stratified_split(labels: "Labels", fraction: float) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """Indices for training and held-out, `fraction` of every class held out (at least one, but of a class of one
    sample none, since it has to be learned); a function of the labels only.
    """
    random = np.random.RandomState(SPLIT_SEED)  # the one generator whose stream numpy promises never to change
    held_out = [
        chosen[: min(len(chosen) - 1, max(1, round(len(chosen) * fraction)))]
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
