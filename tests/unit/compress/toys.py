"""Small models of each registered kind, and the channels that a narrower one has kept."""

from typing import Any

import torch
from torch import nn

from slipway.api.training.compression import CompressionStep
from workloads import models
from workloads.models import Images

EXAMPLE = torch.zeros(1, 1, 8, 8)


def toy(name: str, seed: int = 0, width: int = 8) -> nn.Module:
    """For pictures of 8 x 8 in three classes, every parameter and statistic at random."""
    torch.manual_seed(seed)
    model = models.build(name, models.arguments_for(name, Images(1, 8, 8, 3), width))
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return model.eval()


def step(**fields: Any) -> CompressionStep:
    return CompressionStep.model_validate(fields)


def pictures(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8)


def silence(model: nn.Module, smaller: nn.Module) -> None:
    """In the larger model, make what the smaller one has lost come out as zero, wherever it is added up.

    The layers' biases (or normalisations') are all different, so they name the channels.
    """
    left = dict(smaller.named_modules())
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d | nn.Conv2d | nn.Linear) and layer.bias is not None:
            kept = torch.isin(layer.bias.detach(), left[name].bias.detach())  # type: ignore[arg-type]
            assert int(kept.sum()) == len(left[name].bias)  # type: ignore[arg-type]
            layer.register_forward_hook(_only(kept))


def _only(kept: torch.Tensor) -> Any:
    def hook(_layer: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        shape = [1, -1] + [1] * (output.ndim - 2)
        return output * kept.reshape(shape)

    return hook
