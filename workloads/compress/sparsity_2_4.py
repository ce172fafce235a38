"""2:4 sparsity: of each four weights in a row along the input, the two smaller ones become zero (Mishra et al. 2021).

The pattern that NVIDIA's sparse tensor cores compute twice as fast, from Ampere on; a CPU gains nothing by it.
"""

import torch
from torch import nn

from slipway.api.training.compression import CompressionStep
from workloads.compress.masks import Masks
from workloads.compress.prunable import touchable
from workloads.errors import BadInput

GROUP, KEPT = 4, 2


def pattern(weight: torch.Tensor) -> torch.Tensor:
    """Mask of the two largest of each four weights along axis 1, whose length is a multiple of four.

    Of equal ones the first stay.
    """
    rows = weight.detach().abs().movedim(1, -1)
    groups = rows.reshape(-1, GROUP)
    largest = groups.sort(dim=1, descending=True, stable=True).indices[:, :KEPT]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, largest, True)
    return mask.reshape(rows.shape).movedim(-1, 1).contiguous()


def two_four(model: nn.Module, step: CompressionStep) -> tuple[Masks, str]:
    """Zero two of each four in place. Returns what is kept, by parameter, and what was done in words.

    Layers whose inputs do not divide by four, such as the first of a picture's, stay. BadInput when all do.
    """
    layers = touchable(model, step.exclude)
    fitting = {name: layer for name, layer in layers.items() if layer.weight.shape[1] % GROUP == 0}
    if not fitting:
        raise BadInput("two-four needs layers whose inputs divide by four, and the model has none: use magnitude")
    kept: Masks = {}
    for name, layer in fitting.items():
        kept[f"{name}.weight"] = pattern(layer.weight)
        with torch.no_grad():
            layer.weight.mul_(kept[f"{name}.weight"])
    left = ", ".join(sorted(set(layers) - set(fitting)))
    words = f"two-four: two of each four weights in {len(kept)} layers are zero"
    return kept, f"{words}; as they were: {left}" if left else words
