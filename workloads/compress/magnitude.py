"""Unstructured pruning: the smallest weights of all layers together become zero (Han et al. 2015), by
torch.nn.utils.prune's `global_unstructured` with the L1 norm.

The model keeps its shape and its size on disk; the zeros pay where something skips or packs them.
"""

import torch
from torch import nn
from torch.nn.utils import prune

from slipway.api.compression import CompressionStep
from workloads.compress.layers import touchable
from workloads.compress.masks import Masks
from workloads.errors import BadInput


def magnitude(model: nn.Module, step: CompressionStep) -> tuple[Masks, str]:
    """Zero `step.ratio` of the weights in place. Returns what is kept, by parameter, and what was done in words.

    Ties at the threshold go by position, as torch.topk breaks them. BadInput for a model without such layers.
    """
    layers = touchable(model, step.exclude)
    if not layers:
        raise BadInput("magnitude prunes convolutions and linear layers, and the model has none that is not excluded")
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], pruning_method=prune.L1Unstructured, amount=step.ratio
    )
    kept: Masks = {}
    for name, layer in layers.items():
        kept[f"{name}.weight"] = layer.get_buffer("weight_mask").bool()
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    zeros = sum(int((~mask).sum()) for mask in kept.values())
    total = sum(mask.numel() for mask in kept.values())
    return kept, f"magnitude: {zeros} of {total} weights in {len(kept)} layers are zero"


def zeros_of(model: nn.Module) -> int:
    """How many parameters are exactly zero."""
    return sum(int(torch.count_nonzero(parameter == 0)) for parameter in model.parameters())
