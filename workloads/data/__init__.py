"""Data sets of training, calibration and evaluation; a user's own loader returns a DataSet or a TextSet."""

from workloads.data.datasets import (
    SPLIT_SEED,
    Augmentation,
    DataSet,
    Images,
    InMemory,
    Part,
    Samples,
    Subset,
    changes,
    counted,
    in_memory_preprocessing,
    stratified_split,
)
from workloads.data.registry import (
    BY_TASK,
    CHOSEN,
    DATASETS,
    ChosenModule,
    DataModule,
    load,
    open_set,
)

__all__ = [
    "BY_TASK",
    "CHOSEN",
    "DATASETS",
    "SPLIT_SEED",
    "Augmentation",
    "ChosenModule",
    "DataModule",
    "DataSet",
    "Images",
    "InMemory",
    "Part",
    "Samples",
    "Subset",
    "changes",
    "counted",
    "in_memory_preprocessing",
    "load",
    "open_set",
    "stratified_split",
]
