"""Models as users bring them: module:function, called with what is known of the data."""

from typing import Any

import torch
from torch import nn


class Tied(nn.Module):
    """A language model whose output layer is its embedding, by assignment, as minGPT's descendants write it."""

    def __init__(self, vocabulary: int, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.body = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(self.embedding(tokens)))
        return found


def tied(vocabulary: int, **_known: Any) -> nn.Module:
    """Of the data's vocabulary."""
    return Tied(vocabulary)


class Branched(nn.Module):
    """A classifier with a frozen layer, and a branch that no sample takes before `step` batches have been learned."""

    def __init__(self, inputs: int, classes: int, awake: int | None) -> None:
        super().__init__()
        self.frozen = nn.Linear(inputs, 16).requires_grad_(False)
        self.body = nn.Linear(16, classes)
        self.unused = nn.Linear(16, classes)
        self.awake = awake
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: torch.Tensor

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.frozen(pixels.flatten(1)).relu()
        found: torch.Tensor = self.body(hidden)
        if self.training:
            self.seen += 1
        if self.awake is not None and self.seen > self.awake:
            found = found + self.unused(hidden)
        return found


def branched(
    channels: int, height: int, width: int, classes: int, awake: int | None = None, **_known: Any
) -> nn.Module:
    """Of the data's shape. `awake`: after how many batches the branch is taken; never when unset."""
    return Branched(channels * height * width, classes, awake)


class Breaking(nn.Module):
    """A classifier whose last layer is infinite after the last update of a run: no training loss has seen it."""

    def __init__(self, inputs: int, classes: int, steps: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: torch.Tensor
        self.body.weight.register_hook(self._gradient)
        self.steps = steps

    def _gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return gradient * float("inf") if self.seen == self.steps else gradient

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found


def breaking(channels: int, height: int, width: int, classes: int, steps: int, **_known: Any) -> nn.Module:
    """Broken by the update of step `steps`."""
    return Breaking(channels * height * width, classes, steps)


class Sized(nn.Module):
    """A classifier that prints how many samples it is given in evaluation."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if not self.training:
            print(f"evaluated at once: {len(pixels)}", flush=True)
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found


def sized(channels: int, height: int, width: int, classes: int, **_known: Any) -> nn.Module:
    """Of the data's shape."""
    return Sized(channels * height * width, classes)


class Rising(nn.Module):
    """A classifier of digits that is right until its last epoch, in which every step turns its answers."""

    def __init__(self, inputs: int, classes: int, worse: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: torch.Tensor
        self.worse = worse

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(pixels.flatten(1))
        if self.training:
            self.seen += 1
        return -found if not self.training and self.seen > self.worse else found


def rising(channels: int, height: int, width: int, classes: int, worse: int, **_known: Any) -> nn.Module:
    """Worse in evaluation after so many batches."""
    return Rising(channels * height * width, classes, worse)


class Chatty(nn.Module):
    """A classifier whose size depends on how often it was built."""

    built = 0

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        Chatty.built += 1
        self.body = nn.Sequential(nn.Linear(inputs, 8 + Chatty.built), nn.Linear(8 + Chatty.built, classes))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found


def chatty(channels: int, height: int, width: int, classes: int, **_known: Any) -> nn.Module:
    """Another one each time."""
    return Chatty(channels * height * width, classes)


class Forgetting(nn.Module):
    """A classifier that fails in evaluation, as one whose branch for it was never tried."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if not self.training:
            raise AttributeError("no centre of the classes yet")
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found


def forgetting(channels: int, height: int, width: int, classes: int, **_known: Any) -> nn.Module:
    """Of the data's shape."""
    return Forgetting(channels * height * width, classes)


class Stateful(nn.Module):
    """A classifier with an entry of its state dict that is no tensor."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found


def stateful(channels: int, height: int, width: int, classes: int, **_known: Any) -> nn.Module:
    """Of the data's shape."""
    return Stateful(channels * height * width, classes)


class Answering(nn.Module):
    """A classifier whose answer comes in some framework's form."""

    def __init__(self, inputs: int, classes: int, form: str) -> None:
        super().__init__()
        self.first = nn.LazyLinear(16)
        self.last = nn.LazyLinear(classes)
        self.form = form

    def forward(self, pixels: torch.Tensor) -> Any:
        found = self.last(self.first(pixels.flatten(1)).relu())
        hidden = found.detach().sum()
        if self.form == "model-output":
            from transformers.modeling_outputs import SequenceClassifierOutput

            return SequenceClassifierOutput(logits=found)
        forms: dict[str, Any] = {
            "dict": {"logits": found, "hidden": hidden}, "out": {"aux": hidden, "out": found}, "only": {"x": found},
            "tuple": (found, None), "list": [found, hidden], "tensor": found,
            "which": {"a": found, "b": hidden}, "none": None, "wide": torch.cat([found, found], 1),
        }  # fmt: skip
        return forms[self.form]


def answering(channels: int, height: int, width: int, classes: int, form: str, **_known: Any) -> nn.Module:
    """With lazy layers, which learn their sizes from what they are given first."""
    return Answering(channels * height * width, classes, form)


def mistaken(**known: Any) -> nn.Module:
    """Calls something with an argument that it does not take."""
    return nn.Linear(known["classes"], inputs=3)  # type: ignore[call-arg]


def narrow(channels: int, height: int) -> nn.Module:
    """Takes less than it is told."""
    return nn.Linear(channels, height)


class CannotBeSavedError(TypeError):
    """Of a model that refuses to be saved."""


class Unsavable(nn.Module):
    """A classifier whose state can be read before the first step and not after it."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, classes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: torch.Tensor

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        found: torch.Tensor = self.body(pixels.flatten(1))
        return found

    def state_dict(self, *arguments: Any, **named: Any) -> Any:
        if self.seen > 0:
            raise CannotBeSavedError("not this one")
        return super().state_dict(*arguments, **named)


def unsavable(channels: int, height: int, width: int, classes: int, **_known: Any) -> nn.Module:
    """Of the data's shape."""
    return Unsavable(channels * height * width, classes)
