"""Layers that a compression method may change. Asked by each method."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from workloads.models.compressed import Layer


def touchable(model: nn.Module, exclude: Sequence[str]) -> dict[str, Layer]:
    """Convolutions and linear layers by name, without those that are excluded or share their weights with others."""
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and owners[id(module.weight)] == 1
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }


def last(model: nn.Module) -> str:
    """Name of the layer that gives the answers: the last one that the model declares."""
    return list(touchable(model, []))[-1]
