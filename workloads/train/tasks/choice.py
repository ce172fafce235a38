"""Choice of the task that fits a data set."""

import torch

from slipway.api.training.fine_tuning.preference import Preference as PreferenceChoice
from slipway.api.training.learning.task import TrainingTask
from slipway.api.training.recipe import Recipe
from workloads.data.datasets import DataSet
from workloads.data.detection.boxes import BoxSet
from workloads.data.own_dataset import ArraySet
from workloads.data.targets import spread_of
from workloads.data.texts.preferences import PreferenceSet
from workloads.data.texts.supervised import SupervisedSet
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.train.tasks.class_weights import refuse_weights, weights_of
from workloads.train.tasks.task import Task


def for_data(data: DataSet | TextSet, recipe: Recipe, device: torch.device) -> Task:
    """The task of a data set."""
    from workloads.train.tasks.classify import Pictures, Texts
    from workloads.train.tasks.language import Language

    if isinstance(data, SupervisedSet):
        return _tuned(data, recipe)
    if isinstance(data, TextSet) and not data.labels:
        refuse_weights(recipe, "a language model")
        return Language(data, recipe.label_smoothing)
    if data.task is not TrainingTask.CLASSIFICATION or isinstance(data, ArraySet):
        return _other(data, recipe, device)
    if isinstance(data, TextSet):
        return Texts(data, recipe.label_smoothing, weights_of(recipe, data.labels, data.training, device))
    if isinstance(data, BoxSet):
        from workloads.train.tasks.detect import Detection

        refuse_weights(recipe, "a detector")
        if recipe.label_smoothing:
            raise BadInput("recipe.labelSmoothing is of a class per sample, and a detector has none: remove it")
        return Detection(data, device)
    return Pictures(data, recipe.label_smoothing, device, weights_of(recipe, data.labels, data.training, device))


def _tuned(data: SupervisedSet, recipe: Recipe) -> Task:
    """A language model's task: the next tokens, or the better of two answers."""
    from workloads.train.tasks.preference import Preference
    from workloads.train.tasks.supervised import Supervised

    refuse_weights(recipe, "a language model")
    if isinstance(data, PreferenceSet):
        return Preference(data, recipe.label_smoothing, (recipe.preference or PreferenceChoice()).beta)
    return Supervised(data, recipe.label_smoothing)


def _other(data: DataSet | TextSet, recipe: Recipe, device: torch.device) -> Task:
    """A task of other answers than one class, or of own code's arrays. BadInput for what weighs or softens classes."""
    from workloads.train.tasks.inputs import Arrays, input_of
    from workloads.train.tasks.multi_label import MultiLabel
    from workloads.train.tasks.regress import Regression
    from workloads.train.tasks.segment import Segmentation

    if isinstance(data, ArraySet) and data.task is TrainingTask.CLASSIFICATION:
        return Arrays(data, recipe.label_smoothing, weights_of(recipe, data.labels, data.training, device))
    refuse_weights(recipe, f"task {data.task}")
    if recipe.label_smoothing:
        raise BadInput(f"recipe.labelSmoothing is of a class per sample, and task {data.task} has none: remove it")
    if isinstance(data, ArraySet) and data.task is TrainingTask.SEGMENTATION:
        raise BadInput("task segmentation takes pictures: return uint8 [channels, height, width] beside each mask")
    if data.task is TrainingTask.SEGMENTATION and isinstance(data, DataSet):
        return Segmentation(data, device)
    given = input_of(data, device)
    if data.task is TrainingTask.MULTI_LABEL:
        return MultiLabel(given, len(data.labels))
    return Regression(given, spread_of(data.training, str(data.reference.uri or data.reference.name)), device)
