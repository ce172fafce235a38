"""Output of a user's own model: the tensor that loss and figures are made of, from what frameworks return.

A tensor; of a dict or Hugging Face's ModelOutput its `logits`, `out` or `output`, or its only tensor; of a tuple or
list the first tensor. As a hook of the model, so that trainer, quantizer, export and server see the same.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from workloads.errors import BadInput

NAMES = ("logits", "out", "output", "pred", "predictions")


def plain(model: nn.Module) -> nn.Module:
    """The same model, whose calls return a tensor from now on."""
    model.register_forward_hook(tensor_hook)
    return model


def tensor_hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    """A forward hook of torch. BadInput when there is no telling which tensor is meant."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        named = next((output[name] for name in NAMES if isinstance(output.get(name), torch.Tensor)), None)
        tensors = [one for one in output.values() if isinstance(one, torch.Tensor)]
        if named is not None or len(tensors) == 1:
            return named if named is not None else tensors[0]
        held = f"a dict of {', '.join(map(str, output)) or 'nothing'}"
        raise BadInput(f"the model returns {held}: name what is learned `logits`, or return the tensor alone")
    if isinstance(output, tuple | list):
        first = next((one for one in output if isinstance(one, torch.Tensor)), None)
        if first is not None:
            return first
    raise BadInput(f"the model returns a {type(output).__name__}: return a tensor, or a dict with `logits`")
