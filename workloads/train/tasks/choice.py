"""Choice of the task that fits a data set."""

import torch

from slipway.api.training.recipe import Recipe
from workloads.data.datasets import DataSet
from workloads.data.detection.boxes import BoxSet
from workloads.data.texts.supervised import SupervisedSet
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.train.tasks.class_weights import refuse_weights, weights_of
from workloads.train.tasks.task import Task


def for_data(data: DataSet | TextSet, recipe: Recipe, device: torch.device) -> Task:
    """The task of a data set."""
    from workloads.train.tasks.classify import Pictures, Texts
    from workloads.train.tasks.language import Language
    from workloads.train.tasks.supervised import Supervised

    if isinstance(data, SupervisedSet):
        refuse_weights(recipe, "a language model")
        return Supervised(data, recipe.label_smoothing)
    if isinstance(data, TextSet) and not data.labels:
        refuse_weights(recipe, "a language model")
        return Language(data, recipe.label_smoothing)
    if isinstance(data, TextSet):
        return Texts(data, recipe.label_smoothing, weights_of(recipe, data.labels, data.training, device))
    if isinstance(data, BoxSet):
        from workloads.train.tasks.detect import Detection

        refuse_weights(recipe, "a detector")
        if recipe.label_smoothing:
            raise BadInput("recipe.labelSmoothing is of a class per sample, and a detector has none: remove it")
        return Detection(data, device)
    return Pictures(data, recipe.label_smoothing, device, weights_of(recipe, data.labels, data.training, device))
