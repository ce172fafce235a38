"""Strategies, by which many processes train one model: their Protocol, and the strategy of one process.

The loop calls learn and step, the evaluation judge; checkpoints call save and load. A saved state has the same form
whatever the strategy: whole parameters, buffers and moments by name (torch's own state dicts), so a run goes on under
another one.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from slipway.api.training.recipe import Recipe
from workloads.data.sample_order import Batch
from workloads.models.empty import give_memory
from workloads.pod.environment import Place
from workloads.train.initial_values import Values
from workloads.train.optimisation import NumberFormat, build_optimizer
from workloads.train.optimisation.average import MovingAverage
from workloads.train.performance_options import prepare
from workloads.train.world import World

State = dict[str, Any]
Ready = Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]
LossOf = Callable[[torch.Tensor, Any, torch.Tensor], torch.Tensor]
# Fills a nest of tensors in place, together with all processes. Returns the parameters whose moments were not saved.
Read = Callable[[State], set[str]]


class Strategy(Protocol):
    """Protocol of a way to spread the work, called by the trainer. All processes call all methods together."""

    name: str
    compresses: bool
    """Whether it can halve what travels, as recipe.gradientCompression asks; nothing travels in one process."""
    holds_zeros: bool
    """Whether gradients belong to whole parameters, so that masks can be held; see workloads.compress.masks."""
    cuts: bool
    """Whether each process holds a part of the model alone: `wrap` then takes one without memory, and its values."""
    model: nn.Module
    """Holds the parameters; their names are those of the model as it was built."""

    def setup(self, place: Place) -> World:
        """Meet the other processes."""

    def wrap(self, model: nn.Module, values: Values | None = None) -> None:
        """Take the model, built alike by all, spread it and make its optimizer.

        `values`: of its parameters, where they have no memory yet.
        """

    def learn(self, batches: Sequence[Batch], ready: Ready, loss: LossOf) -> list[torch.Tensor]:
        """Run what comes before a step: adds the gradient of the mean loss of the batches to the gradients.

        `ready` makes inputs and targets of a batch, `loss` takes inputs, outputs and targets. Returns each batch's
        loss, on the device.
        """

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> Any:
        """The model's outputs. `last`: with the last part of a step; in evaluation mode it means nothing."""

    def judge(self, inputs: torch.Tensor, sums: Callable[[Any], list[float]]) -> list[float]:
        """The sums of the model's outputs, wherever those come to be."""

    def step(self, rate: float) -> None:
        """Clip, change the weights at this learning rate, forget the gradients."""

    def save(self) -> State:
        """The state as {"model": {name: tensor}, "optimizer": {"state": {name: {moment: tensor}}}}.

        A process may hold some of it only. The tensors are those in use: copy them before the next step.
        """

    def load(self, read: Read, rehearse: Callable[[], torch.Tensor]) -> None:
        """Put a saved state in place. `rehearse` gives a loss, for those whose moments are born in a step."""

    def scaling(self) -> dict[str, Any]:
        """Scaling of the loss for float16, as plain numbers; empty otherwise."""

    def scale(self, scaling: dict[str, Any]) -> None:
        """Go on with this scaling."""

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole model in float32 for the first process; the others may get less."""

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Context in which the model's weights are those that are evaluated and published."""

    def synchronise(self) -> None:
        """Give every process the same buffers (running statistics) before the model is evaluated or saved."""

    def teardown(self) -> None:
        """Leave in good order."""


class Single:
    """One process: nothing to exchange. The others build on it."""

    name = "single"
    compresses = True
    holds_zeros = True
    average: MovingAverage | None = None
    cuts = False
    values: Values | None = None

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def setup(self, place: Place) -> World:
        """Begin alone, or meet the others over gloo and nccl."""
        self.world = World(place)
        return self.world

    def wrap(self, model: nn.Module, values: Values | None = None) -> None:
        """Take the model to the device, with the recipe's options for speed and memory, and make its optimizer."""
        self.values = values
        self.numbers = NumberFormat(self.recipe.precision, self.world.device)
        self.model = prepare(self._placed(model), self.recipe)
        self.wrapped = self._spread(self.model)
        if values is not None:
            give_memory(self.model, self.world.device, self._fill)
            values.close(self.world)
        self.optimizer = self._optimizer()
        if self.recipe.ema is not None:
            self.average = MovingAverage(self.model, self.recipe.ema.decay)

    def _fill(self, name: str, parameter: torch.Tensor) -> None:
        """Give a parameter, or this process's part of one, its initial values."""
        if self.values is not None:
            self.values.fill(name, parameter)

    def _placed(self, model: nn.Module) -> nn.Module:
        """The model where it is before it is spread: on the device."""
        return model.to(self.world.device)

    def _spread(self, model: nn.Module) -> nn.Module:
        return model

    def _optimizer(self) -> torch.optim.Optimizer:
        return build_optimizer(self.recipe.optimizer, self.model)

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> Any:
        """The model's outputs, under the recipe's precision."""
        module = self.wrapped if self.model.training else self.model
        with self.numbers.autocast():
            return module(inputs)

    def learn(self, batches: Sequence[Batch], ready: Ready, loss: LossOf) -> list[torch.Tensor]:
        """Learn from one batch after the other; gradients are exchanged with the last one only."""
        parts, found = len(batches), []
        for number, batch in enumerate(batches, 1):
            inputs, targets = ready(batch)
            one = loss(inputs, self.forward(inputs, last=number == parts), targets)
            self.backward(one / parts, last=number == parts)
            found.append(one.detach())
        return found

    def judge(self, inputs: torch.Tensor, sums: Callable[[Any], list[float]]) -> list[float]:
        """The sums of this process's outputs: every process has the outputs for its samples."""
        return sums(self.forward(inputs))

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Run the backward pass of the scaled loss, with nothing to exchange."""
        self.numbers.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> None:
        """Make a step of the recipe's optimizer."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.recipe.gradient_clipping is not None:
            self.numbers.scaler.unscale_(self.optimizer)
            self._clip(self.recipe.gradient_clipping)
        self.numbers.scaler.step(self.optimizer)
        self.numbers.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()

    def _clip(self, largest: float) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), largest)

    def save(self) -> State:
        """torch's state dicts; the optimizer's settings follow from the recipe and are left out."""
        weights, moments = get_state_dict(self.model, self.optimizer)
        return {"model": weights, "optimizer": {"state": moments["state"]}, **self._average_state()}

    def _average_state(self) -> State:
        return {} if self.average is None else {"average": self.average.state()}

    def load(self, read: Read, rehearse: Callable[[], torch.Tensor]) -> None:
        """Load a saved state into model and optimizer."""
        # As in a new process: torch makes moments of all parameters only where there are none of any, and the
        # rehearsal loads into a run whose idle parameters have none.
        self.optimizer.state.clear()
        weights, moments = get_state_dict(self.model, self.optimizer)
        state: State = {"model": weights, "optimizer": {"state": moments["state"]}, **self._average_state()}
        without = read(state)
        found = {**moments, "state": state["optimizer"]["state"]}
        set_state_dict(self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=found)
        for name, parameter in self.model.named_parameters():
            if name in without:
                # As it was when it was saved; the moments that torch made, to have something to fill, count a step.
                self.optimizer.state.pop(parameter, None)

    def scaling(self) -> dict[str, Any]:
        """State of GradScaler; empty where it is not enabled."""
        return dict(self.numbers.scaler.state_dict())

    def scale(self, scaling: dict[str, Any]) -> None:
        """Load GradScaler's state, unless it is empty."""
        if scaling:
            self.numbers.scaler.load_state_dict(scaling)

    def weights(self) -> dict[str, torch.Tensor]:
        """All weights, on every process."""
        return dict(self.model.state_dict())

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The moving average in place of the weights, where the recipe asks for one."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def synchronise(self) -> None:
        """Send the first process's running statistics to all, as at each forward of DDP."""
        if self.world.size > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, src=0)

    def teardown(self) -> None:
        """Wait for the others."""
        self.world.close()
