"""Tied tensors: names of a state dict that are one tensor.

Files take each tensor once, and a model asks for all its names. Language models share their embedding with the output
layer (Press and Wolf 2017), and safetensors refuses what is shared. So one name is written, the first in the model's
own order, and the others are filled in when it is read.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from workloads.errors import BadInput

Place = tuple[torch.device, int, tuple[int, ...], torch.dtype]


def written(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that a safetensors file may hold: contiguous tensors of the CPU, each once, none a part of another.

    BadInput for an entry that is no tensor, or of a kind that the format has no word for.
    """
    found: dict[str, torch.Tensor] = {}
    places: set[Place] = set()
    storages: set[int] = set()
    for name, tensor in weights.items():
        _require_plain(name, tensor)
        place, storage = _place(tensor), tensor.untyped_storage().data_ptr()
        if tensor.numel() and place in places and tensor.is_contiguous():
            continue
        own = tensor.detach().cpu().contiguous()
        # Another view of memory that is written already needs memory of its own.
        found[name] = own.clone() if storage in storages else own
        places.add(place)
        storages.add(storage)
    return found


def completed(model: nn.Module, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`found` with the names that the model has for the same tensors; what else is missing stays missing."""
    own = {
        name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if isinstance(tensor, torch.Tensor)
    }
    own = {name: tensor for name, tensor in own.items() if not is_lazy(tensor)}
    known = {_place(own[name]): tensor for name, tensor in found.items() if name in own and own[name].numel()}
    more = {
        name: known[_place(tensor)] for name, tensor in own.items() if name not in found and _place(tensor) in known
    }
    return {**found, **more}


def _place(tensor: torch.Tensor) -> Place:
    return tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.dtype


def _require_plain(name: str, tensor: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        words = f"the model's state_dict holds {name}, a {type(tensor).__name__}, and an artifact holds tensors only"
        raise BadInput(f"{words}: register it as a buffer, or leave it out of get_extra_state")
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
        kind = "meta" if tensor.is_meta else str(tensor.layout) if tensor.layout is not torch.strided else tensor.dtype
        raise BadInput(f"the model's {name} is a {kind} tensor, which safetensors cannot hold: make it a plain one")
