"""torch's DistributedDataParallel: every process has the whole model, gradients are averaged during backward."""

import contextlib
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slipway.api.training.recipe import Compression
from workloads.train.strategies.base import Single


class DataParallel(Single):
    """DDP, the strategy for more than one process unless something else is asked for."""

    name = "ddp"

    def _spread(self, model: nn.Module) -> nn.Module:
        """Broadcasts the first process's parameters, so that all start equal."""
        device = self.world.device
        wrapped = DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            find_unused_parameters=self.recipe.find_unused_parameters,
        )
        if self.recipe.gradient_compression is Compression.FP16:
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

            wrapped.register_comm_hook(None, fp16_compress_hook)
        self._ddp = wrapped
        return wrapped

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> Any:
        """The model's outputs; DDP decides here whether the backward pass exchanges."""
        with self._quiet(last):
            return super().forward(inputs, last=last)

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Run the backward pass; with a step's last part, gradients are exchanged bucket by bucket meanwhile."""
        with self._quiet(last):
            super().backward(loss, last=last)

    def _quiet(self, last: bool) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if last else self._ddp.no_sync()
