"""Matrices of linear layers, torch's and those of GPT-2, which keep theirs the other way round."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

SWAPPED = "Conv1D"


def is_swapped(part: nn.Module) -> bool:
    """Tell whether a layer keeps its weight as [inputs, outputs]."""
    return type(part).__name__ == SWAPPED


def parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers within a module, by name."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear) or is_swapped(part):
            yield name, part


def matrix(part: nn.Module) -> torch.Tensor:
    """A linear layer's weight as [outputs, inputs], a view that can be changed in place."""
    weight: Any = part.weight.detach()  # type: ignore[operator]
    return weight.t() if is_swapped(part) else weight  # type: ignore[no-any-return]
