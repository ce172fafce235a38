"""How do pruned weights stay zero while the model is trained? Their gradients are zero too.

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
    """From now on backward passes leave the masked weights of this model alone."""
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        parameters[name].register_hook(_Kept(mask))  # type: ignore[no-untyped-call]


class _Kept:
    """Zeroes what is masked, on whatever device the gradient is."""

    def __init__(self, mask: torch.Tensor) -> None:
        self._mask = mask

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        if self._mask.device != gradient.device:
            self._mask = self._mask.to(gradient.device)
        return gradient * self._mask


def zeros(model: nn.Module) -> Masks:
    """Of each convolution and linear layer that has zeros: they are those that pruning left, here or in another job."""
    found: Masks = {}
    for name, layer in touchable(model, []).items():
        kept = layer.weight.detach() != 0
        if not bool(kept.all()):
            found[f"{name}.weight"] = kept
    return found


def both(one: Masks, other: Masks) -> Masks:
    """What both keep."""
    shared = {name: mask & one[name] if name in one else mask for name, mask in other.items()}
    return {**one, **shared}


def digest(masks: Masks) -> str:
    """Digest of all masks together: a checkpoint fits the run that has the same."""
    content = hashlib.sha256()
    for name in sorted(masks):
        content.update(name.encode() + b"\0" + masks[name].numpy().tobytes())
    return f"sha256:{content.hexdigest()}"
