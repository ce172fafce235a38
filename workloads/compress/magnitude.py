"""Unstructured pruning: the smallest weights of all layers together become zero (Han et al. 2015), by
torch.nn.utils.prune's `global_unstructured` with the L1 norm.

Magnitudes count by their layer's mean, each layer keeps some, and the answer layer is spared: pruned by bare magnitudes
a small network lost a whole layer, and with it all that it knew. The model keeps its shape and its size on disk; the
zeros pay where something skips or packs them.
"""

import math

import torch
from torch import nn
from torch.nn.utils import prune

from slipway.api.training.compression import CompressionStep
from workloads.compress.masks import Masks
from workloads.compress.prunable import last, touchable
from workloads.errors import BadInput

FLOOR = 0.2


def magnitude(model: nn.Module, step: CompressionStep) -> tuple[Masks, str]:
    """Zero `step.ratio` of the weights in place. Returns what is kept, by parameter, and what was done in words.

    Ties at the threshold go by position, as torch.topk breaks them. BadInput for a model without such layers.
    """
    layers = touchable(model, step.exclude)
    if len(layers) > 1:
        layers.pop(last(model), None)
    if not layers:
        raise BadInput("magnitude prunes convolutions and linear layers, and the model has none that is not excluded")
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()],
        pruning_method=prune.L1Unstructured,
        importance_scores={
            (layer, "weight"): importance(layer.weight.detach(), step.ratio or 0.0) for layer in layers.values()
        },
        amount=step.ratio,
    )
    kept: Masks = {}
    for name, layer in layers.items():
        kept[f"{name}.weight"] = layer.get_buffer("weight_mask").bool()
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    empty = [name for name, mask in kept.items() if not bool(mask.any())]
    if empty:
        raise BadInput(
            f"magnitude with ratio {step.ratio} leaves nothing of {', '.join(empty[:3])}: exclude it, or lower it"
        )
    zeros = sum(int((~mask).sum()) for mask in kept.values())
    total = sum(mask.numel() for mask in kept.values())
    return kept, f"magnitude: {zeros} of {total} weights in {len(kept)} layers are zero"


def importance(weight: torch.Tensor, ratio: float) -> torch.Tensor:
    """Importance of each weight, on a scale that all layers share.

    Magnitudes by their layer's mean: layers differ in scale, by how they are initialised alone, and the one of the
    smallest would be emptied first. The FLOOR of what a layer would keep on average is kept in any case.
    """
    found = weight.abs() / weight.abs().mean().clamp(min=1e-12)
    least = max(1, math.floor(FLOOR * (1 - ratio) * weight.numel()))
    found.view(-1)[found.view(-1).topk(least).indices] = math.inf
    return found


def zeros_of(model: nn.Module) -> int:
    """Number of parameters that are exactly zero."""
    return sum(int(torch.count_nonzero(parameter == 0)) for parameter in model.parameters())
