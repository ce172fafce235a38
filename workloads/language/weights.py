"""Weights of a language model: safetensors in one file or in shards, loaded tensor by tensor into a model that was made
without memory.

Names are compared before a byte of the weights is read: a model with renamed tensors, which libraries load with a
warning and fill up with noise, is refused.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.common.artifact import WEIGHTS_FILE
from workloads.errors import BadInput
from workloads.language.config import FAMILIES, checked
from workloads.language.packed import opened
from workloads.language.shards import INDEX_FILE
from workloads.libraries import transformers

if TYPE_CHECKING:
    import torch
    from torch import nn

SHARD_BYTES = 4 << 30
WANTED = "a language model's config.json is read by transformers"


def empty(folder: Path) -> "nn.Module":
    """The model of config.json without memory (on torch's meta device). BadInput as of `checked`."""
    import torch

    config, library = checked(folder), transformers(WANTED)
    known = {key: value for key, value in config.items() if key not in {"auto_map", "quantization_config"}}
    try:
        made = library.AutoConfig.for_model(**known)
        with torch.device("meta"):
            model: nn.Module = getattr(library, FAMILIES[config["model_type"]])(made)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise BadInput(f"{folder}: config.json makes no model ({error})") from error
    return model.eval()


def load(folder: Path, dtype: "torch.dtype | None" = None) -> "nn.Module":
    """The model with its weights, in float32 unless `dtype`, in evaluation mode. Holds one more tensor at a time.

    BadInput when names or shapes are not those of the model.
    """
    import torch

    model, shards = empty(folder), opened(folder)
    names = matched(model, shards)
    wanted = dtype or torch.float32
    own = model.state_dict()
    for name in shards:
        target = names.get(name)
        if target is None:
            continue
        tensor = shards.tensor(name)
        if tensor.shape != own[target].shape:
            raise BadInput(f"{folder}: {name} has the shape {list(tensor.shape)}, the model {list(own[target].shape)}")
        _set(model, target, tensor.to(wanted) if tensor.is_floating_point() else tensor)
    model.tie_weights()  # type: ignore[operator]
    _fill_buffers(model)
    left = [name for name, one in (*model.named_parameters(), *model.named_buffers()) if one.is_meta]
    if left:
        raise BadInput(f"{folder}: nothing was loaded for {left[0]}")
    return model.eval()


def matched(model: "nn.Module", names: Iterable[str]) -> dict[str, str]:
    """Names of a file with the model's own. BadInput for a tensor that only one of the two has.

    Files of bare GPT-2 leave out the prefix `transformer.`; an output layer that is tied may be left out, and may be
    there as well.
    """
    own = set(model.state_dict())
    given, prefix = list(names), f"{getattr(model, 'base_model_prefix', '')}."
    found = {name: name if name in own else prefix + name if prefix + name in own else "" for name in given}
    strange = [name for name, target in found.items() if not target and not name.endswith(_IGNORED)]
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()  # type: ignore[union-attr]
    missing = sorted(own - set(found.values()) - tied)
    if strange or missing:
        said = f"the file has {strange[0]}" if strange else f"the model has {missing[0]}"
        more = f", and {len(strange) + len(missing) - 1} more" if len(strange) + len(missing) > 1 else ""
        raise BadInput(f"the weights are of another model: only {said}{more}")
    return {name: target for name, target in found.items() if target and target not in tied}


# Masks that old files of GPT-2 hold, and tables of angles that old files of Llama hold: both follow from the config.
_IGNORED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def _set(model: "nn.Module", name: str, tensor: "torch.Tensor") -> None:
    from torch import nn

    place, _, last = name.rpartition(".")
    module = model.get_submodule(place)
    if last in module._parameters:
        module._parameters[last] = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
    else:
        module._buffers[last] = tensor


def _fill_buffers(model: "nn.Module") -> None:
    """Tables that follow from the configuration and are in no file: made anew, module by module."""
    for module in model.modules():
        empty_ones = [name for name, one in module._buffers.items() if one is not None and one.is_meta]
        if not empty_ones:
            continue
        fresh = type(module)(getattr(module, "config", model.config))
        for name in empty_ones:
            module._buffers[name] = fresh._buffers[name]


def save(folder: Path, tensors: "Mapping[str, torch.Tensor]", metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors as model.safetensors, or in shards with an index once they are larger than SHARD_BYTES."""
    from safetensors.torch import save_file

    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        bytes_ = tensor.numel() * tensor.element_size()
        if size + bytes_ > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += bytes_
    said = {"format": "pt", **(metadata or {})}
    if len(shards) == 1:
        save_file(shards[0], folder / WEIGHTS_FILE, metadata=said)
        return
    files: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata=said)
        files |= dict.fromkeys(shard, file)
        total += sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": files}, indent=2))
