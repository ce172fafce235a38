"""Tensor parallel: several processes hold a part of each layer of one GPT-2, by torch's DTensor.

Asked for by recipe.tensorParallel. With more processes than that, the groups share the data as FSDP2 does: parameters,
gradients and moments are cut by both. A saved state is whole, as of any strategy.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from workloads.pod.environment import Place
from workloads.train.strategies import tp_plan
from workloads.train.strategies.base import Read, State
from workloads.train.strategies.fsdp import FullyShard
from workloads.train.world import World


class Tensor(FullyShard):
    """A mesh of data x tensor; neighbours, which are likely on one node, hold one model."""

    name = "tensor"

    def setup(self, place: Place) -> World:
        """Meet the other processes, in groups that hold one model each."""
        self.world = World(place, grouped=True, together=self.recipe.tensor_parallel)
        return self.world

    def _spread(self, model: nn.Module) -> nn.Module:
        found = tp_plan.check(model, self.world.together)
        shape = (self.world.shares, self.world.together)
        mesh = init_device_mesh(self.world.device.type, shape, mesh_dim_names=("data", "tensor"))
        self._order = tp_plan.columns(found.transformer.config.n_embd, self.world.together)
        tp_plan.spread(found, mesh["tensor"])
        spread = self._shard(found, mesh["data"]) if self.world.shares > 1 else found
        if self.values is not None:
            return spread
        return spread.to(self.world.device)  # what is cut is there already; buffers are not

    def _fill(self, name: str, parameter: torch.Tensor) -> None:
        """Give a part its initial values: of a fused matrix by heads first, see `columns`."""
        if tp_plan.FUSED not in name or self.values is None:
            super()._fill(name, parameter)
            return
        own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        own.copy_(self._part(self.values.whole(name)))

    def save(self) -> State:
        """State in parts, but with attention's fused matrices whole: no even cut of the whole gives a part of those."""
        found = super().save()
        # Copies: the optimizer goes on with these very dicts.
        moments = {name: dict(kept) for name, kept in found["optimizer"]["state"].items()}
        state: State = {"model": dict(found["model"]), "optimizer": {"state": moments}}
        for number, (nest, name) in enumerate(self._fused(state)):
            whole = nest.pop(name).full_tensor()
            if number % self.world.size == self.world.rank:
                nest[name] = whole[..., self._order.argsort().to(whole.device)].cpu()
        return state

    def load(self, read: Read, rehearse: Callable[[], torch.Tensor]) -> None:
        """Load a state as `save` left it: the fused matrices are read whole, and each process keeps its part."""

        def cut(state: State) -> set[str]:
            parts = [(nest, name, nest[name]) for nest, name in self._fused(state)]
            for nest, name, part in parts:
                nest[name] = torch.empty(part.shape, dtype=part.dtype)
            without = read(state)
            for nest, name, part in parts:
                part.to_local().copy_(self._part(nest[name]))
                nest[name] = part
            return without

        super().load(cut, rehearse)

    def _part(self, whole: torch.Tensor) -> torch.Tensor:
        """This process's part of a fused matrix [in, 3 * width] or its bias [3 * width].

        Cut by heads first, then as FSDP2 cuts the rest.
        """
        own = whole[..., self._order].chunk(self.world.together, dim=-1)[self.world.rank % self.world.together]
        rows = own.chunk(self.world.shares) if self.world.shares > 1 else (own,)
        return rows[self.world.share] if self.world.share < len(rows) else own[:0]

    def _fused(self, state: State) -> Iterator[tuple[dict[str, Any], str]]:
        """Places of the fused matrices in a state: their weights and moments, in the same order on all processes."""
        for name in [name for name in state["model"] if tp_plan.FUSED in name]:
            yield state["model"], name
            moments = state["optimizer"]["state"].get(name, {})
            for moment in [key for key, value in moments.items() if value.ndim > 0]:
                yield moments, moment

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole model, gathered for the first process, on the CPU."""
        back = self._order.argsort()
        found = super().weights()
        return {name: value[..., back] if tp_plan.FUSED in name else value for name, value in found.items()}
