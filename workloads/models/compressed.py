"""Rebuilding of a compressed model: the widths and ranks of its layers, applied to the model as it was designed.

Recorded in artifact.json; read by whoever loads an artifact. Weights are not touched: those are loaded afterwards.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slipway.api.common.artifact import LayerChange
from workloads.errors import Corrupt

Layer = nn.Conv2d | nn.Linear
Widths = dict[str, tuple[int, int, int]]  # by layer: inputs, outputs, groups


def rebuilt(model: nn.Module, changes: Iterable[LayerChange]) -> nn.Module:
    """The same module, changed in place. Corrupt for a layer that it has not."""
    for change in changes:
        layer = dict(model.named_modules()).get(change.layer)
        if isinstance(layer, nn.Conv2d | nn.Linear) and change.rank is not None:
            replace(model, change.layer, nn.Sequential(*factors(layer, change.rank)))
        elif isinstance(layer, nn.Conv2d | nn.Linear | _BatchNorm) and change.inputs and change.outputs:
            _resize(layer, change.inputs, change.outputs, change.groups or 1)
        else:
            raise Corrupt(f"the artifact changes the layer {change.layer!r}, which this model has not")
    return model


def _resize(layer: Layer | _BatchNorm, inputs: int, outputs: int, groups: int) -> None:
    """Change the layer's widths; its weights of the new shape are zeros until they are loaded."""
    if isinstance(layer, nn.Conv2d):
        layer.in_channels, layer.out_channels, layer.groups = inputs, outputs, groups
        layer.weight = _empty(layer.weight, (outputs, inputs // groups, *layer.weight.shape[2:]))
    elif isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
        layer.weight = _empty(layer.weight, (outputs, inputs))
    else:
        layer.num_features = outputs
        layer.running_mean, layer.running_var = torch.zeros(outputs), torch.ones(outputs)
        layer.weight = _empty(layer.weight, (outputs,))
    if isinstance(layer.bias, torch.Tensor):
        layer.bias = _empty(layer.bias, (outputs,))


def _empty(old: torch.Tensor, shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(old.new_zeros(shape))


def widths(model: nn.Module) -> Widths:
    """Widths of every layer whose width can be changed."""
    found: Widths = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            found[name] = layer.in_channels, layer.out_channels, layer.groups
        elif isinstance(layer, nn.Linear):
            found[name] = layer.in_features, layer.out_features, 1
        elif isinstance(layer, _BatchNorm):
            found[name] = layer.num_features, layer.num_features, 1
    return found


def between(before: Widths, after: Widths) -> list[LayerChange]:
    """The layers whose widths differ."""
    return [
        LayerChange(layer=name, inputs=inputs, outputs=outputs, groups=groups)
        for name, (inputs, outputs, groups) in after.items()
        if before[name] != (inputs, outputs, groups)
    ]


def factors(layer: Layer, rank: int) -> tuple[Layer, Layer]:
    """Two layers to be called in a row, with `rank` channels between them and weights still to come."""
    biased = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=biased)
    first = nn.Conv2d(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        bias=False,
        padding_mode=layer.padding_mode,
    )
    return first, nn.Conv2d(rank, layer.out_channels, 1, bias=biased)


def replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put another layer in the place of `name`."""
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, layer)


def same_shapes(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether the state of one model fits into the other: the same names and shapes."""
    shapes: Sequence[dict[str, torch.Size]] = [
        {name: tensor.shape for name, tensor in model.state_dict().items()} for model in (one, other)
    ]
    return shapes[0] == shapes[1]
