"""Plan by which torch cuts a GPT-2 over processes that each hold a part of every layer. Used by tensor_parallel.py.

Megatron-LM's way (Shoeybi et al. 2019, arXiv:1909.08053, section 3): attention by heads and the MLP by its inner width,
first matrix by columns, second by rows, one sum over the processes after each; the embedding by tokens. What is left
(normalisation, places) is held by all alike.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    parallelize_module,
)

from workloads.errors import BadInput
from workloads.models.transformer import LanguageModel

FUSED = ".attn.c_attn."  # query, key and value of all heads side by side, in one matrix


def _cut(places: dict[str, Placement], _name: str, module: nn.Module, mesh: DeviceMesh) -> None:
    """Cut a module's parameters; every process has built the same values, so nobody needs to be sent any."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        held = distribute_tensor(parameter, mesh, [places.get(name, Replicate())], src_data_rank=None)
        module.register_parameter(name, nn.Parameter(held))


class Columns(ColwiseParallel):
    """torch's ColwiseParallel, for the transposed matrices [in, out] of transformers' Conv1D."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        cut = partial(_cut, {"weight": Shard(1), "bias": Shard(0)})
        taken = partial(self._prepare_input_fn, self.input_layouts, self.desired_input_layouts)
        given = partial(self._prepare_output_fn, self.output_layouts, self.use_local_output)
        return distribute_module(module, device_mesh, cut, taken, given)


class Rows(RowwiseParallel):
    """torch's RowwiseParallel, for the same matrices; the bias is everybody's, and added once."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        taken = partial(self._prepare_input_fn, self.input_layouts, (Shard(-1),))
        given = partial(self._prepare_output_fn, self.output_layouts, self.use_local_output)
        return distribute_module(module, device_mesh, partial(_cut, {"weight": Shard(0)}), taken, given)


class Alike(ParallelStyle):
    """Style of a layer that all processes compute on the same numbers.

    A DTensor all the same, as the optimizer wants all or none.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        everywhere = (Replicate(),)
        taken = partial(ColwiseParallel._prepare_input_fn, everywhere, everywhere)
        given = partial(ColwiseParallel._prepare_output_fn, everywhere, True)
        return distribute_module(module, device_mesh, partial(_cut, {}), taken, given)


PLAN: dict[str, ParallelStyle] = {
    "transformer.wte": RowwiseParallel(input_layouts=Replicate()),
    "transformer.wpe": Alike(),
    "transformer.h.*.ln_1": Alike(),
    "transformer.h.*.attn.c_attn": Columns(),
    "transformer.h.*.attn.c_proj": Rows(),
    "transformer.h.*.ln_2": Alike(),
    "transformer.h.*.mlp.c_fc": Columns(),
    "transformer.h.*.mlp.c_proj": Rows(),
    "transformer.ln_f": Alike(),
}


def check(model: nn.Module, parts: int) -> LanguageModel:
    """BadInput for a model that cannot be cut so."""
    from transformers.pytorch_utils import Conv1D

    if not isinstance(model, LanguageModel):
        raise BadInput(f"recipe.tensorParallel cuts models of the GPT-2 family, this is a {type(model).__name__}")
    heads = model.transformer.config.n_head
    if heads % parts:
        raise BadInput(f"recipe.tensorParallel {parts} does not divide the model's {heads} heads")
    for block in model.transformer.h:
        matrices = (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)
        if not all(isinstance(matrix, Conv1D) for matrix in matrices):
            raise BadInput("recipe.tensorParallel cuts whole layers, and compression has changed this model's")
    return model


def spread(model: LanguageModel, mesh: DeviceMesh) -> None:
    """Change it in place into this process's part. Collective over `mesh`, which has one dimension."""
    parts, rank = mesh.size(), mesh.get_local_rank()
    order = columns(model.transformer.config.n_embd, parts)
    with torch.no_grad():
        for block in model.transformer.h:
            fused = block.attn.c_attn
            for parameter in (fused.weight, fused.bias):
                parameter.copy_(parameter[..., order.to(parameter.device)])
            block.attn.split_size //= parts
            _drop_apart(block.attn, rank)
    parallelize_module(model, mesh, PLAN, src_data_rank=None)
    hidden = (Replicate(), None)  # and the embedding, which is a DTensor already
    parallelize_module(model.output, mesh, PrepareModuleInput(input_layouts=hidden, desired_input_layouts=hidden))
    whole = PrepareModuleOutput(output_layouts=Shard(-1), desired_output_layouts=Replicate())
    parallelize_module(model.output, mesh, whole)


def columns(width: int, parts: int) -> torch.Tensor:
    """Order of the fused matrix's columns that gives each process, by an even cut, its own heads' query, key and value.

    int64 [3 * width]: new position -> old position.
    """
    return torch.arange(3 * width).reshape(3, parts, width // parts).transpose(0, 1).flatten()


def _drop_apart(attention: Any, rank: int) -> None:
    """Draw dropout inside of attention from a random stream of each process's own.

    Outside of attention all processes drop the same numbers, since they hold the same; inside, heads are their own.

    So between the two matrices the random numbers are of another stream, and afterwards go on as if nothing had been.
    """
    kept: list[tuple[torch.Generator, torch.Tensor]] = []

    def leave(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        if not attention.training or attention.attn_dropout.p == 0:
            return
        on_gpu = output.device.type == "cuda"
        generator = torch.cuda.default_generators[output.device.index] if on_gpu else torch.default_generator
        seed = int(torch.randint(2**48, ()))
        kept[:] = [(generator, generator.get_state())]
        generator.manual_seed(seed + rank)

    def come_back(_module: nn.Module, _inputs: Any) -> None:
        for generator, state in kept:
            generator.set_state(state)
        kept.clear()

    attention.c_attn.register_forward_hook(leave)
    attention.c_proj.register_forward_pre_hook(come_back)
