"""Weights of classes in the loss: as the recipe names them, or by how rare a class is among the training samples."""

from collections.abc import Sequence

import numpy as np
import torch

from slipway.api.training.recipe import Recipe
from workloads.data import Samples
from workloads.data.targets import all_of
from workloads.errors import BadInput


def refuse_weights(recipe: Recipe, whose: str) -> None:
    """BadInput where the recipe weighs classes that a sample has not one of."""
    if recipe.class_weights or recipe.balance_classes:
        raise BadInput(
            f"recipe.classWeights and balanceClasses are for one class per sample, and {whose} has none: remove them"
        )


def weights_of(recipe: Recipe, labels: Sequence[str], training: Samples, device: torch.device) -> torch.Tensor | None:
    """One weight per class, float32; None where all classes weigh the same. BadInput for a label that is not there."""
    if recipe.class_weights:
        unknown = sorted(set(recipe.class_weights) - set(labels))
        if unknown:
            raise BadInput(f"recipe.classWeights names {unknown[0]!r}, and the labels are {', '.join(labels)[:300]}")
        return torch.tensor([recipe.class_weights.get(label, 1.0) for label in labels], device=device)
    if not recipe.balance_classes:
        return None
    counts = np.bincount(_classes(training), minlength=len(labels))
    present = max(1, int((counts > 0).sum()))
    # So that the weights of all samples have a mean of 1: the learning rate keeps its meaning.
    balanced = np.where(counts > 0, counts.sum() / np.maximum(1, counts) / present, 0.0)
    return torch.tensor(balanced, dtype=torch.float32, device=device)


def _classes(samples: Samples) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """Classes of all samples, without reading the samples."""
    found = all_of(samples)
    if found is None:
        raise BadInput("recipe.balanceClasses: this data set does not tell its classes beforehand: use classWeights")
    return np.asarray(found, dtype=np.int64)
