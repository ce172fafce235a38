"""Answers of a regression in the units of its data: what a network computes near 0 and 1, times deviation, plus mean.

A network that has to answer 300,000 learns for epochs how large its answers are. So the training data's mean and
deviation are arguments of the model, as its width is, and whoever builds it gets answers in the data's units.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workloads.data.targets import Spread

if TYPE_CHECKING:
    import torch
    from torch import nn

    Arguments = Mapping[str, bool | int | float | str]

MEAN, DEVIATION = "answers_mean", "answers_deviation"


def arguments(spread: Spread) -> dict[str, bool | int | float | str]:
    """Spread as a model's arguments; several numbers as words."""
    return {MEAN: _words(spread.mean), DEVIATION: _words(spread.deviation)}


def parted(given: "Arguments") -> "tuple[Arguments, Spread | None]":
    """The constructor's own arguments, and the spread of the answers where there is one."""
    if MEAN not in given or DEVIATION not in given:
        return given, None
    rest = {name: value for name, value in given.items() if name not in {MEAN, DEVIATION}}
    return rest, Spread(_numbers(given[MEAN]), _numbers(given[DEVIATION]))


def rescale(model: "nn.Module", spread: Spread) -> "nn.Module":
    """The same model, whose answers [n, k] are in the data's units from now on, float32."""

    def hook(_module: "nn.Module", _inputs: Any, output: "torch.Tensor") -> "torch.Tensor":
        answers = output.float()
        return answers * answers.new_tensor(spread.deviation) + answers.new_tensor(spread.mean)

    model.register_forward_hook(hook)
    return model


def _words(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)


def _numbers(words: bool | float | str) -> tuple[float, ...]:
    return tuple(float(word) for word in str(words).split())
