"""Masks that keep pruned weights at zero while the model is trained: their gradients are zero too.

A weight that is zero and gets no gradient stays zero under SGD and AdamW, momentum and weight decay included; and the
norm that clipping looks at is that of the weights which are left, as with torch.nn.utils.prune's reparametrisation. The
names of the parameters do not change. It needs gradients that belong to whole parameters: not FSDP's or ZeRO's parts.
"""

import hashlib

import torch
from torch import nn

from workloads.compress.prunable import touchable

Masks = dict[str, torch.Tensor]  # by parameter: true where the weight is kept


def hold(model: nn.Module, masks: Masks) -> None:
    """Zero the gradients of the pruned weights of a model in all later backward passes."""
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        parameters[name].register_hook(_MaskGradient(mask))  # type: ignore[no-untyped-call]


class _MaskGradient:
    """Gradient hook that zeroes the gradients of pruned weights, on whatever device they are."""

    def __init__(self, mask: torch.Tensor) -> None:
        self._mask = mask

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        if self._mask.device != gradient.device:
            self._mask = self._mask.to(gradient.device)
        return gradient * self._mask


def zeros(model: nn.Module) -> Masks:
    """Masks of the convolutions and linear layers that have zeros.

    These are the zeros that pruning left, here or in another job.
    """
    found: Masks = {}
    for name, layer in touchable(model, []).items():
        kept = layer.weight.detach() != 0
        if not bool(kept.all()):
            found[f"{name}.weight"] = kept
    return found


def both(one: Masks, other: Masks) -> Masks:
    """Masks that keep the weights which both keep; a parameter in only one of them keeps that one's mask."""
    shared = {name: mask & one[name] if name in one else mask for name, mask in other.items()}
    return {**one, **shared}


def digest(masks: Masks) -> str:
    """Digest of all masks together: a checkpoint fits the run that has the same."""
    content = hashlib.sha256()
    for name in sorted(masks):
        content.update(name.encode() + b"\0" + masks[name].numpy().tobytes())
    return f"sha256:{content.hexdigest()}"
