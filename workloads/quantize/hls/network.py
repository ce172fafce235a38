"""Chain of layers as a torch module of known layers, which is what hls4ml reads."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.quantize.hls.chain import Chain, Layer

if TYPE_CHECKING:
    import torch


def module_of(chain: Chain) -> "torch.nn.Sequential":
    """The network with its weights, for inference; its children have the layers' names."""
    import torch

    return torch.nn.Sequential(OrderedDict((layer.name, _module(layer)) for layer in chain.layers)).eval()


def _module(layer: Layer) -> "torch.nn.Module":
    from torch import nn

    if layer.weight is not None:
        return _weighted(layer)
    axes = len(layer.given) - 1
    about = layer.attributes
    if layer.op in {"MaxPool", "AveragePool"}:
        kind = {("MaxPool", 1): nn.MaxPool1d, ("MaxPool", 2): nn.MaxPool2d, ("AveragePool", 1): nn.AvgPool1d}
        made = kind.get((layer.op, axes), nn.AvgPool2d)
        pool: nn.Module = made(_axes(about["kernel"]), _axes(about["strides"]))
        return pool
    return _plain(layer.op, about)


def _plain(op: str, about: Mapping[str, Any]) -> "torch.nn.Module":
    from torch import nn

    made: dict[str, Any] = {
        "Flatten": nn.Flatten,
        "Relu": nn.ReLU,
        "Sigmoid": nn.Sigmoid,
        "Tanh": nn.Tanh,
        "Softmax": lambda: nn.Softmax(-1),
        "LeakyRelu": lambda: nn.LeakyReLU(about.get("alpha", 0.01)),
        "Elu": lambda: nn.ELU(about.get("alpha", 1.0)),
    }
    if op not in made:
        raise BadInput(f"target.runtime hls cannot build {op}")
    module: torch.nn.Module = made[op]()
    return module


def _weighted(layer: Layer) -> "torch.nn.Module":
    import torch
    from torch import nn

    weight = torch.from_numpy(layer.weight)
    outputs, inputs, *kernel = weight.shape
    if not kernel:
        module: nn.Module = nn.Linear(inputs, outputs)
    else:
        made: Any = nn.Conv1d if len(kernel) == 1 else nn.Conv2d
        about = layer.attributes
        module = made(inputs, outputs, _axes(kernel), stride=_axes(about["strides"]), padding=_axes(about["pads"]))
    # Always with a bias, of zeros perhaps: hls4ml writes one for every layer.
    bias = torch.zeros(outputs) if layer.bias is None else torch.from_numpy(layer.bias)
    module.load_state_dict({"weight": weight, "bias": bias})
    return module


def _axes(values: Any) -> Any:
    """One number for one axis, as hls4ml reads it; a pair for two."""
    found = tuple(int(value) for value in values)
    return found[0] if len(found) == 1 else found
