"""A data set of the user's own code: torch's map-style Dataset, or the DataSet and TextSet of this package.

`module:Class` or `module:function`. A parameter `train` is given as true and as false, as torchvision's data sets have
it; a pair, or a dict of splits, is taken as it is; of a single Dataset one fifth is held out.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import user_code
from workloads.data import splits
from workloads.data.datasets import Augmentation, DataSet, stratified_split
from workloads.data.sample_order import per_sample_random
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.data.texts.text import TextSet

    Array = npt.NDArray[Any]

HELD_OUT = 0.2
LOOKED_AT = 1024  # samples from which mean and deviation of numbers are taken
CHANNELS = (1, 3)
MEAN, STD = 0.5, 0.25  # of a picture's channels, whose own would need all samples to be read
NAMES = ("classes", "names")


@dataclass(frozen=True)
class ArraySet(DataSet):
    """A data set of float32 arrays of one shape, which the model gets as they are; `preprocessing` means nothing."""

    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class OwnSamples:
    """Some samples of a Dataset, as arrays. What is drawn at random follows from the sample, the epoch and the seed."""

    dataset: Any
    places: "npt.NDArray[np.int64]"
    task: TrainingTask
    shape: tuple[int, ...]
    classes: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def labels(self) -> "Array | None":
        """Classes of all samples where the Dataset keeps them; numbers of some samples for a regression."""
        if self.task is TrainingTask.REGRESSION:
            chosen = np.linspace(0, len(self) - 1, min(LOOKED_AT, len(self))).astype(int)
            return self.batch(chosen.tolist())[1]
        known = getattr(self.dataset, "targets", None)
        return (
            np.asarray(known)[self.places] if known is not None and self.task is TrainingTask.CLASSIFICATION else None
        )

    def batch(self, indices: Sequence[int]) -> "tuple[Array, Array]":
        """Samples and what they should answer, the same each time. BadInput for a sample unlike the first."""
        return self.drawn(indices, per_sample_random(0, 0, indices))

    def drawn(self, indices: Sequence[int], bits: "npt.NDArray[np.uint64]") -> "tuple[Array, Array]":
        """The same, with each sample's own random bits."""
        import torch

        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            found = [self._sample(int(self.places[index]), int(own)) for index, own in zip(indices, bits, strict=True)]
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
        return np.stack([sample for sample, _ in found]), np.stack([target for _, target in found])

    def _sample(self, place: int, bits: int) -> "tuple[Array, Array]":
        import torch

        random.seed(bits)
        np.random.seed(bits % 2**32)
        torch.manual_seed(bits % 2**63)
        sample, target = pair(self.dataset, place)
        array = sample_of(sample, place)
        if array.shape != self.shape:
            raise BadInput(
                f"sample {place} of {type(self.dataset).__name__} has the shape {list(array.shape)}, the first one "
                f"{list(self.shape)}: bring all to one shape in __getitem__"
            )
        return array, target_of(target, place, self.task, self.classes)


def pair(dataset: Any, place: int) -> tuple[Any, Any]:
    """A sample and its target. BadInput for anything else."""
    found = dataset[place]
    if isinstance(found, Mapping) and len(found) == 2:
        found = tuple(found.values())
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise BadInput(f"{type(dataset).__name__}[{place}] is a {type(found).__name__}: return a sample and its target")
    return found[0], found[1]


def sample_of(sample: Any, place: int) -> "Array":
    """A picture as uint8 [channels, height, width], or any float array as float32."""
    from PIL import Image

    if isinstance(sample, Image.Image):
        sample = np.asarray(sample.convert("L" if sample.mode in {"1", "L"} else "RGB"))
        sample = sample[:, :, None] if sample.ndim == 2 else sample
    array = sample.detach().cpu().numpy() if hasattr(sample, "detach") else np.asarray(sample)
    if array.dtype == np.uint8 and array.ndim == 3:
        chw = array.shape[0] in CHANNELS
        if not chw and array.shape[-1] not in CHANNELS:
            raise BadInput(f"sample {place} has the shape {list(array.shape)}: a picture has 1 or 3 channels")
        return np.ascontiguousarray(array if chw else array.transpose(2, 0, 1))
    if array.dtype.kind != "f":
        raise BadInput(
            f"sample {place} is {array.dtype} {list(array.shape)}: return floats, a PIL picture or uint8 [channels, "
            "height, width]; for tokens return workloads.data's TextSet"
        )
    return array.astype(np.float32)


def target_of(target: Any, place: int, task: TrainingTask, classes: int) -> "Array":
    """A class int64, numbers float32 [k], labels int64 [classes], or a mask int64 [h, w]. BadInput for others."""
    array = target.detach().cpu().numpy() if hasattr(target, "detach") else np.asarray(target)
    whole = array.dtype.kind in "iub"
    if task is TrainingTask.REGRESSION and array.dtype.kind in "iuf" and array.ndim <= 1:
        numbers = array.astype(np.float32).reshape(-1)
        if len(numbers) != classes or not np.isfinite(numbers).all():
            raise BadInput(f"the target of sample {place} is {array.tolist()}: expected {classes} finite numbers")
        return numbers
    if task is TrainingTask.CLASSIFICATION and whole and array.size == 1:
        number = int(array.reshape(-1)[0])
        if not 0 <= number < classes:
            raise BadInput(f"the target of sample {place} is {number}, and there are {classes} classes, from 0 on")
        return np.asarray(number, np.int64)
    if task is TrainingTask.MULTI_LABEL and array.shape == (classes,):
        return (array > 0).astype(np.int64)
    if task is TrainingTask.SEGMENTATION and whole and array.ndim == 2:
        mask = np.where(array == 255, -1, array.astype(np.int64))
        if mask.max() >= classes:
            raise BadInput(f"the mask of sample {place} has class {mask.max()}, and there are {classes} classes")
        return mask
    raise BadInput(
        f"the target of sample {place} is {array.dtype} {list(array.shape)}, which is none of task {task}: set "
        "recipe.task (regression, multi-label, segmentation), or return a whole number for a class"
    )


def load(choice: DatasetChoice, task: TrainingTask) -> "DataSet | TextSet":
    """The data set that the user's code makes. BadInput in words for what is none."""
    from workloads.data.texts.text import TextSet

    name, arguments = str(choice.callable), user_code.decoded(choice.arguments)
    found = _made(name, arguments)
    if isinstance(found, DataSet | TextSet):
        return found
    training, held = _parts(name, found)
    for part in (training, held):
        if part is not None and not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise BadInput(
                f"{name} returned a {type(part).__name__}: expected a map-style torch Dataset (__len__ and "
                "__getitem__), whose samples a resumed run finds again, or workloads.data's DataSet or TextSet"
            )
    return _set(choice, task, training, held)


def _made(name: str, arguments: dict[str, Any]) -> Any:
    takes = user_code.parameters(name)
    if "train" in takes and "train" not in arguments:
        return user_code.call(name, {**arguments, "train": True}), user_code.call(name, {**arguments, "train": False})
    return user_code.call(name, arguments)


def _parts(name: str, found: Any) -> tuple[Any, Any]:
    if isinstance(found, Mapping):
        kinds = [splits.kind_of(str(key)) for key in found]
        parts = splits.by_name(list(found), kinds)
        if parts is None or len(parts.training) != 1:
            raise BadInput(f"{name} returned a dict of {', '.join(map(str, found))}: name them train and validation")
        return found[parts.training[0]], found[parts.held_out[0]]
    if isinstance(found, tuple) and len(found) == 2:
        return found
    return found, None


def _set(choice: DatasetChoice, task: TrainingTask, training: Any, held: Any) -> DataSet:
    name = str(choice.callable)
    if len(training) == 0 or (held is not None and len(held) == 0):
        raise BadInput(
            f"{name}: there is no sample in {'it' if held is None or not len(training) else 'what is held out'}"
        )
    sample, target = pair(training, 0)
    shape = sample_of(sample, 0)
    labels = _labels(name, training, task, target)
    every = np.arange(len(training), dtype=np.int64)
    kept, out = (
        (every, np.arange(len(held), dtype=np.int64)) if held is not None else stratified_split(every * 0, HELD_OUT)
    )
    own, other = (
        OwnSamples(data, places, task, shape.shape, len(labels))
        for data, places in ((training, kept), (held if held is not None else training, out))
    )
    pictures = shape.dtype == np.uint8
    channels, height, width = shape.shape if pictures else (1, 1, 1)
    of_pictures = Preprocessing(
        channels=3 if channels == 3 else 1, height=height, width=width, mean=[MEAN] * channels, std=[STD] * channels
    )
    fields: dict[str, Any] = {
        "training": own,
        "held_out": other,
        "labels": labels,
        "preprocessing": of_pictures,
        "augmentation": Augmentation(),
        "reference": _reference(choice, len(own), len(other), f"{shape.shape} {shape.dtype}"),
        "taken": (
            "held out as the code says" if held is not None else "one fifth held out",
            f"samples {shape.dtype} {list(shape.shape)}, task {task}, {len(labels)}: {', '.join(labels[:10])}",
        ),
        "task": task,
    }
    return DataSet(**fields) if pictures else ArraySet(**fields, shape=shape.shape)


def _reference(choice: DatasetChoice, training: int, held: int, form: str) -> DatasetReference:
    """Identity by the code's name, its arguments and what it gave: its samples are read when they are asked for."""
    told = f"{choice.callable} {sorted(choice.arguments.items())} {training} {held} {form}"
    return DatasetReference(
        name=str(choice.callable),
        digest=f"sha256:{hashlib.sha256(told.encode()).hexdigest()}",
        covers="listing",
        training_samples=training,
        held_out_samples=held,
    )


def _labels(name: str, dataset: Any, task: TrainingTask, target: Any) -> tuple[str, ...]:
    """Names of classes or numbers: the Dataset's own, or what follows from its targets."""
    known = next((getattr(dataset, one) for one in NAMES if getattr(dataset, one, None)), None)
    if known is not None:
        return tuple(map(str, known))
    if task is TrainingTask.REGRESSION:
        count = int(np.size(target.detach().cpu().numpy() if hasattr(target, "detach") else target))
        return ("value",) if count == 1 else tuple(f"value{number}" for number in range(count))
    targets = getattr(dataset, "targets", None)
    if targets is not None and task is TrainingTask.CLASSIFICATION:
        return tuple(str(number) for number in range(int(np.max(np.asarray(targets))) + 1))
    raise BadInput(f"{name}: nothing says what its classes are called: give the Dataset an attribute `classes`, a list")
