"""Frozen linear layers whose matrices are kept in 4 or 8 bits a weight, with a scale and a zero for each group.

QLoRA (Dettmers et al. 2023) without its number format: whole numbers between a group's least and largest weight, which
every device computes. Gradients pass through to the inputs; the matrix itself never learns.
"""

from typing import Any

import torch
from torch import nn

from slipway.api.training.fine_tuning.peft import QuantizedBase
from workloads.errors import BadInput


class QuantizedLinear(nn.Linear):
    """Linear layer that computes its matrix anew in each call. `weight` is the matrix, not a parameter."""

    def __init__(self, layer: nn.Linear, choice: QuantizedBase) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = layer.in_features, layer.out_features, choice.bits
        self.bias = layer.bias
        groups = layer.weight.detach().float().reshape(self.out_features, -1, choice.group_size)
        low, high = groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0)
        scale = ((high - low) / (2**choice.bits - 1)).clamp(min=1e-12)
        codes = ((groups - low) / scale).round().clamp(0, 2**choice.bits - 1).to(torch.uint8)
        # Two numbers of four bits in a byte.
        packed = codes[..., 0::2] | (codes[..., 1::2] << 4) if choice.bits == 4 else codes
        self.register_buffer("codes", packed.contiguous(), persistent=False)
        self.register_buffer("scales", scale.half(), persistent=False)
        self.register_buffer("lows", low.half(), persistent=False)

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """The matrix in float32 [outputs, inputs]."""
        codes: torch.Tensor = self.codes  # type: ignore[assignment]
        if self.bits == 4:
            codes = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
        groups = codes.float() * self.scales.float() + self.lows.float()  # type: ignore[operator]
        return groups.reshape(self.out_features, self.in_features)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Product with the matrix, which is not kept for the backward pass but made once more."""
        product: torch.Tensor = _Product.apply(inputs, self)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: torch.Tensor, layer: QuantizedLinear) -> torch.Tensor:
        context.layer = layer
        return inputs @ layer.weight.to(inputs.dtype).t()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        return gradient @ context.layer.weight.to(gradient.dtype), None


def quantize(model: nn.Module, choice: QuantizedBase) -> None:
    """Put quantized layers in place of all linear ones but the output. BadInput where a group does not fit."""
    output = model.get_output_embeddings()  # type: ignore[operator]
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, nn.Linear) or layer is output:
            continue
        if layer.in_features % choice.group_size:
            raise BadInput(
                f"recipe.peft.quantizeBase.groupSize {choice.group_size} does not divide the {layer.in_features} "
                f"inputs of {name}: choose another"
            )
        place, _, last = name.rpartition(".")
        setattr(model.get_submodule(place), last, QuantizedLinear(layer, choice))


def restore(model: nn.Module) -> None:
    """Put plain linear layers with the same matrices in place of quantized ones, so that adapters can be merged."""
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, QuantizedLinear):
            continue
        plain = nn.Linear(layer.in_features, layer.out_features, bias=False)
        plain.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        plain.bias = layer.bias
        place, _, last = name.rpartition(".")
        setattr(model.get_submodule(place), last, plain)
