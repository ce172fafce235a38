"""torch's FSDP2: parameters, gradients and moments are cut into one part per process, and gathered layer by layer."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from workloads.pod.environment import Place
from workloads.train.performance_options import blocks
from workloads.train.strategies.base import Single
from workloads.train.world import World


class FullyShard(Single):
    """`fully_shard` on each block and on the whole."""

    name = "fsdp2"
    compresses = False
    holds_zeros = False
    cuts = True

    def setup(self, place: Place) -> World:
        """A group even of one process: meshes are made of groups."""
        self.world = World(place, grouped=True)
        return self.world

    def _placed(self, model: nn.Module) -> nn.Module:
        """The model in the node's memory until it is cut, a block at a time: it need not fit the device whole."""
        return model

    def _spread(self, model: nn.Module) -> nn.Module:
        return self._shard(model, init_device_mesh(self.world.device.type, (self.world.size,)))

    @staticmethod
    def _shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
        for block in blocks(model):
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The moving average in place of the weights. What an evaluation has gathered is dropped before and after.

        It would be computed with again instead of the parts.
        """
        if self.average is None:
            yield
            return
        self._drop_gathered()
        with super().averaged():
            try:
                yield
            finally:
                self._drop_gathered()

    def _drop_gathered(self) -> None:
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Run the backward pass; gradients stay whole on each process until the last part of a step."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(last)
        super().backward(loss, last=last)

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole model, gathered for the first process, on the CPU."""
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: dict[str, Any] = dict(get_model_state_dict(self.model, options=whole))
        return found
