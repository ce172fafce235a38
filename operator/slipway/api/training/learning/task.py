"""Task of a recipe: what is learned of the data, where their form alone does not say it."""

from enum import StrEnum
from typing import Any

from slipway.api.common.base import Rule


class TrainingTask(StrEnum):
    """Kind of answer that is learned: one class, numbers, any number of labels, or a class for each pixel."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    MULTI_LABEL = "multi-label"
    SEGMENTATION = "segmentation"


_MASKS = ["mask-folder", "custom"]
_TABLES = ["image-folder", "text-table", "hugging-face", "custom"]
_OF_TABLES = [TrainingTask.REGRESSION.value, TrainingTask.MULTI_LABEL.value]


def _one_class(recipe: Any) -> bool:
    return recipe.task in {None, TrainingTask.CLASSIFICATION} or not (
        recipe.class_weights or recipe.balance_classes or recipe.label_smoothing
    )


RULES = (
    Rule(
        f"!has(self.task) || self.task != 'segmentation' || self.dataset.name in {_MASKS}",
        f"task segmentation learns masks: use dataset {' or '.join(_MASKS)}",
        lambda recipe: recipe.task is not TrainingTask.SEGMENTATION or recipe.dataset.name.value in _MASKS,
    ),
    Rule(
        "!has(self.task) || self.task == 'segmentation' || self.dataset.name != 'mask-folder'",
        "dataset mask-folder is for task segmentation: remove task, or use another data set",
        lambda recipe: recipe.task in {None, TrainingTask.SEGMENTATION} or recipe.dataset.name.value != "mask-folder",
    ),
    Rule(
        f"!has(self.task) || !(self.task in {_OF_TABLES}) || self.dataset.name in {_TABLES}",
        f"task regression and multi-label learn what a table says: use dataset {', '.join(_TABLES)}",
        lambda recipe: (
            recipe.task is None or recipe.task.value not in _OF_TABLES or recipe.dataset.name.value in _TABLES
        ),
    ),
    Rule(
        "!has(self.task) || self.task == 'classification' || !(has(self.classWeights) || "
        "(has(self.balanceClasses) && self.balanceClasses) || (has(self.labelSmoothing) && self.labelSmoothing > 0))",
        "classWeights, balanceClasses and labelSmoothing are for one class per sample: remove them, or task",
        _one_class,
    ),
    Rule(
        "!has(self.dataset.columns) || !has(self.dataset.columns.labels) || size(self.dataset.columns.labels) == 0 || "
        f"(has(self.task) && self.task in {_OF_TABLES})",
        "dataset.columns.labels is for task regression and multi-label: set task, or name one column by label",
        lambda recipe: (
            recipe.dataset.columns is None
            or not recipe.dataset.columns.labels
            or (recipe.task is not None and recipe.task.value in _OF_TABLES)
        ),
    ),
)
