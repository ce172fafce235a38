"""Options that make a step faster or smaller: the recipe's, applied to a model before it is spread over processes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from slipway.api.training.recipe import Recipe
from workloads.errors import BadInput


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated layers: what stands in a ModuleList or Sequential and is itself made of layers; the outermost."""
    found: list[nn.Module] = []

    def search(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(module, nn.ModuleList | nn.Sequential) and len(list(child.children())) > 0:
                found.append(child)
            else:
                search(child)

    search(model)
    return [block for block in found if any(True for _ in block.parameters())]


def _recompute(block: nn.Module) -> None:
    """Keep the block's input only; its inside is computed anew in the backward pass, with the same random numbers."""
    forward = block.forward

    def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        return contextlib.nullcontext(), _statistics_kept(block)

    def checkpointed(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts, **named)

    block.forward = checkpointed


@contextlib.contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics: the second pass over the same batch must not count in them again."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)


def prepare(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The same module, changed in place: the names of its parameters stay.

    BadInput for an option that this model has no use for.
    """
    if recipe.channels_last:
        if not any(parameter.ndim == 4 for parameter in model.parameters()):
            raise BadInput("recipe.channelsLast is for models with convolutions, and this one has none: remove it")
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.activation_checkpointing:
        layers = blocks(model)
        if not layers:
            raise BadInput("recipe.activationCheckpointing needs a model of repeated blocks, this is none: remove it")
        for block in layers:
            _recompute(block)
    if recipe.compile:
        model.compile()
    return model
