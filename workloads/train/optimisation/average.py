"""Exponential moving average of the weights. All processes keep it alike; part of checkpoints.

Evaluation and artifact see the average, the optimizer and checkpoints the weights themselves: the average is put in
place for a moment and taken out again.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

COUNT = "steps"


class MovingAverage:
    """Average of a model's parameters. Its buffers, running statistics among them, are the model's own."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._count = torch.zeros((), dtype=torch.float64)
        self._average = {name: one.detach().clone() for name, one in self._learned()}

    def _learned(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, one) for name, one in self._model.named_parameters() if one.requires_grad]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in. The first steps count for more, so that the beginning is forgotten."""
        done = float(self._count)
        keep = min(self._decay, (1 + done) / (10 + done))
        for name, one in self._learned():
            self._average[name].lerp_(one, 1 - keep)
        self._count += 1

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Context in which the model's weights are the average."""
        own = {name: one.detach().clone() for name, one in self._learned()}
        try:
            self._put(self._average)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, one in self._learned():
            one.copy_(weights[name])

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors in use, by name, for checkpoints to save, and to fill."""
        return {**{f"of.{name}": one for name, one in self._average.items()}, COUNT: self._count}
