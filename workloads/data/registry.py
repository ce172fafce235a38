"""Registry of data sets: from a recipe's name to the loader that reads it, and the limits that a recipe sets."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads.data.datasets import SPLIT_SEED, DataSet, Part, Subset
from workloads.errors import BadInput

if TYPE_CHECKING:
    from workloads.data.texts.text import TextSet


class DataModule(Protocol):
    """Interface of the modules in DATASETS: pictures, loaded by an optional URI alone."""

    load: Callable[[str | None], DataSet]


class ChosenModule(Protocol):
    """Interface of the modules in CHOSEN: a data set, loaded by the recipe's whole choice."""

    load: "Callable[[DatasetChoice], DataSet | TextSet]"


class TaskModule(Protocol):
    """Interface of the modules in BY_TASK: the same, for what is to be learned."""

    load: "Callable[[DatasetChoice, TrainingTask], DataSet | TextSet]"


DATASETS = {
    "digits": "workloads.data.images.digits",
    "fashion-mnist": "workloads.data.images.fashion_mnist",
    "cifar10": "workloads.data.images.cifar10",
    "shapes": "workloads.data.detection.shapes",
}
CHOSEN = {
    "yolo-folder": "workloads.data.detection.yolo_folder",
    "mask-folder": "workloads.data.images.mask_folder",
    "text-files": "workloads.data.texts.text_files",
    "synthetic": "workloads.data.synthetic",
    "sft": "workloads.data.texts.supervised",
    "preference": "workloads.data.texts.preferences",
}
BY_TASK = {
    "image-folder": "workloads.data.images.picture_folder",
    "text-table": "workloads.data.texts.text_table",
    "hugging-face": "workloads.data.texts.hugging_face",
}


def load(choice: DatasetChoice, task: TrainingTask | None = None) -> DataSet:
    """Pictures that the recipe names, `limit` applied. BadInput when they are not there or not what they should be."""
    found = open_set(choice, task)
    if not isinstance(found, DataSet):
        raise BadInput(f"the data set {choice.name} holds no pictures: choose another")
    return found


def open_set(choice: DatasetChoice, task: TrainingTask | None = None) -> "DataSet | TextSet":
    """The data set of the recipe, its limits applied. BadInput when it is not there or not what it should be."""
    data = _open(choice, task or TrainingTask.CLASSIFICATION)
    if len(data.held_out) == 0:
        raise BadInput(
            f"{choice.uri or choice.name}: {len(data.training)} samples, and none of them can be held out, by which "
            "the model is judged: bring more of each class, or a folder, file or split named validation"
        )
    if choice.limit is not None and choice.limit < len(data.training):
        part: Any = _some(data, data.training, choice.limit)
        reference = data.reference.model_copy(update={"training_samples": len(part)})
        data = replace(data, training=part, reference=reference)
    if choice.evaluation_limit is not None and choice.evaluation_limit < len(data.held_out):
        part = _some(data, data.held_out, choice.evaluation_limit)
        reference = data.reference.model_copy(update={"held_out_samples": len(part)})
        data = replace(data, held_out=part, reference=reference)
    return data


def _some(data: "DataSet | TextSet", whole: Any, count: int) -> "Part | Subset":
    """Random subset of `count` samples, the same each time.

    Folders come sorted by class: the first samples would not do.
    """
    kept = np.sort(np.random.RandomState(SPLIT_SEED).permutation(len(whole))[:count]).astype(np.int64)
    return Subset(whole, kept) if isinstance(data, DataSet) else Part(whole, kept)


def _open(choice: DatasetChoice, task: TrainingTask) -> "DataSet | TextSet":
    name = choice.name.value
    if name in DATASETS:
        pictures: DataModule = importlib.import_module(DATASETS[name])
        return pictures.load(choice.uri)
    if name in CHOSEN:
        module: ChosenModule = importlib.import_module(CHOSEN[name])
        return module.load(choice)
    if name in BY_TASK:
        by_task: TaskModule = importlib.import_module(BY_TASK[name])
        return by_task.load(choice, task)
    if choice.callable is None:
        raise BadInput(f"no data set {name!r}: choose one of {', '.join((*DATASETS, *CHOSEN, *BY_TASK))}")
    from workloads.data import own_dataset

    return own_dataset.load(choice, task)
