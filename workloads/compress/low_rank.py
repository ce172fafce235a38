"""Low rank: a layer becomes the product of two thinner ones by its singular values (Denton et al. 2014; for
convolutions as k x k to `rank` channels and 1x1 to the outputs, Zhang et al. 2015).

The rank is the least whose squared singular values sum up to `energy` of all; only layers that get smaller are taken.
"""

import torch
from torch import nn

from slipway.api.common.artifact import LayerChange
from slipway.api.training.compression import CompressionStep
from workloads.compress.prunable import touchable
from workloads.errors import BadInput
from workloads.models.compressed import Layer, factors, replace


def low_rank(model: nn.Module, step: CompressionStep) -> tuple[list[LayerChange], str]:
    """Factorise in place. Returns the layers that were, and what was done in words. BadInput when none gets smaller."""
    changes = []
    for name, layer in touchable(model, step.exclude).items():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            continue
        matrix = layer.weight.detach().flatten(1).double()  # decisions in float64: the same on every machine
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = rank_for(values, float(step.energy or 1.0))
        if rank * sum(matrix.shape) >= matrix.numel():
            continue
        replace(model, name, _product(layer, left[:, :rank], values[:rank], right[:rank]))
        changes.append(LayerChange(layer=name, rank=rank))
    if not changes:
        raise BadInput(f"low-rank: no layer gets smaller when {step.energy:g} of its energy is kept: lower energy")
    ranks = ", ".join(f"{change.layer} {change.rank}" for change in changes)
    return changes, f"low-rank: {len(changes)} layers are products of two, of rank {ranks}"


def rank_for(values: torch.Tensor, energy: float) -> int:
    """The least number of singular values whose squares hold this share of the sum; at least 1."""
    kept = values.square().cumsum(0)
    return int((kept < energy * kept[-1]).sum()) + 1 if kept[-1] > 0 else 1


def _product(layer: Layer, left: torch.Tensor, values: torch.Tensor, right: torch.Tensor) -> nn.Sequential:
    """Two thinner layers for one.

    Each takes the root of the singular values, so that both are trained at the same pace.
    """
    root, like = values.sqrt(), layer.weight
    first, second = factors(layer, len(values))
    with torch.no_grad():
        first.weight.copy_((root[:, None] * right).to(like.dtype).reshape(first.weight.shape))
        second.weight.copy_((left * root).to(like.dtype).reshape(second.weight.shape))
        if layer.bias is not None and second.bias is not None:
            second.bias.copy_(layer.bias)
    return nn.Sequential(first, second).to(like.device)
