"""How is one model trained by many processes? A strategy wraps the model and says when gradients are exchanged."""

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from workloads.train.world import World


class Strategy(Protocol):
    """What the training loop asks of a way to spread the work."""

    name: str

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module whose forward and backward the loop calls; `model` keeps holding the parameters."""

    def accumulating(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Inside it, backward adds to the local gradients without exchanging them."""

    def clip(self, parameters: Iterable[torch.Tensor], largest: float) -> None:
        """Scale the gradients down to a norm of at most `largest`, over all parameters."""

    def synchronise(self, model: nn.Module) -> None:
        """Give every process the same buffers (running statistics) before the model is evaluated or saved."""


class SingleProcess:
    """One process: nothing to exchange."""

    name = "single"

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def accumulating(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Nothing is exchanged anyway."""
        return contextlib.nullcontext()

    def clip(self, parameters: Iterable[torch.Tensor], largest: float) -> None:
        """By the global norm."""
        nn.utils.clip_grad_norm_(parameters, largest)

    def synchronise(self, model: nn.Module) -> None:
        """There is one copy only."""


class DataParallel(SingleProcess):
    """torch's DistributedDataParallel: every process has the whole model, gradients are averaged during backward."""

    name = "ddp"

    def __init__(self, world: World) -> None:
        self._device = world.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """Broadcasts the first process's parameters, so that all start equal."""
        devices = [self._device.index] if self._device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)

    def accumulating(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """DDP's no_sync."""
        if not isinstance(wrapped, DistributedDataParallel):
            raise TypeError("accumulating needs the module that wrap returned")
        return wrapped.no_sync()

    def synchronise(self, model: nn.Module) -> None:
        """The first process's running statistics win, as at each forward of DDP."""
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def choose(world: World) -> Strategy:
    """DDP when there is more than one process."""
    return DataParallel(world) if world.size > 1 else SingleProcess()
