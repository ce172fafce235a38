"""Output of a user's own model: the tensor that loss and figures are made of, from what frameworks return.

A tensor; of a dict or Hugging Face's ModelOutput its `logits`, `out` or `output`, or its only tensor; of a tuple or
list the first tensor. As a hook of the model, so that trainer, quantizer, export and server see the same.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from workloads.data.targets import Spread
from workloads.errors import BadInput

Arguments = Mapping[str, bool | int | float | str]

MEAN, DEVIATION = "answers_mean", "answers_deviation"
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


def spread_arguments(spread: Spread) -> dict[str, bool | int | float | str]:
    """Spread of a regression's numbers as arguments of its model; several numbers as words.

    A network that has to answer 300,000 learns for epochs how large its answers are. So it computes near 0 and 1, and
    mean and deviation are arguments as its width is: whoever builds it gets answers in the data's units.
    """
    return {MEAN: _words(spread.mean), DEVIATION: _words(spread.deviation)}


def parted(given: Arguments) -> tuple[Arguments, Spread | None]:
    """The constructor's own arguments, and the spread of the answers where there is one."""
    if MEAN not in given or DEVIATION not in given:
        return given, None
    rest = {name: value for name, value in given.items() if name not in {MEAN, DEVIATION}}
    return rest, Spread(_numbers(given[MEAN]), _numbers(given[DEVIATION]))


def rescale(model: nn.Module, spread: Spread) -> nn.Module:
    """The same model, whose answers [n, k] are in the data's units from now on, float32."""

    def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        answers = output.float()
        return answers * answers.new_tensor(spread.deviation) + answers.new_tensor(spread.mean)

    model.register_forward_hook(hook)
    return model


def _words(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)


def _numbers(words: bool | float | str) -> tuple[float, ...]:
    return tuple(float(word) for word in str(words).split())
