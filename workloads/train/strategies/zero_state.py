"""State that ZeRO has cut up, saved and loaded in the form that every strategy reads.

Parameter by parameter, through DeepSpeed's public functions for gathering and setting them: so no process ever holds
the whole model, and a checkpoint has no world size. All functions are called by all processes together.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from workloads.train.strategies.base import Read, State
from workloads.train.world import World

# Bytes of whole tensors that a process holds at a time while it loads.
AT_ONCE = 256 << 20
MOMENTS = ("momentum_buffer", "exp_avg", "exp_avg_sq")


def _api() -> Any:
    return importlib.import_module("deepspeed.utils")


def partitioned(model: nn.Module) -> bool:
    """Tell whether DeepSpeed holds the state; it does not for stage 0 in 32 bits, where all is torch's own."""
    return any(hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping") for parameter in model.parameters())


def _shape(parameter: Any) -> torch.Size:
    return torch.Size(parameter.ds_shape) if hasattr(parameter, "ds_id") else torch.Size(parameter.shape)


def _moments(optimizer: torch.optim.Optimizer) -> tuple[list[str], torch.Tensor | None]:
    """Names of the moments that the optimizer keeps, and the number of steps it has counted."""
    state: dict[str, Any] = next(iter(optimizer.state.values()), {})
    names = [name for name in MOMENTS if state.get(name) is not None]
    return names, torch.as_tensor(state["step"], dtype=torch.float32).reshape(()) if "step" in state else None


def gather(model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> State:
    """This process's share of the state: every n-th parameter with its moments, and all buffers."""
    api = _api()
    names, step = _moments(optimizer)
    weights: dict[str, torch.Tensor] = dict(model.named_buffers())
    state: dict[str, dict[str, torch.Tensor]] = {}
    for number, (name, parameter) in enumerate(model.named_parameters()):
        value = _value(parameter)
        asked = names if parameter.requires_grad else []
        moments = {moment: api.safe_get_full_optimizer_state(parameter, moment) for moment in asked}
        if number % world.size != world.rank:
            continue
        weights[name] = value
        if not parameter.requires_grad:
            continue
        state[name] = {moment: value.detach().cpu() for moment, value in moments.items()}
        if step is not None:
            state[name]["step"] = step.clone()
    return {"model": _persistent(model, weights), "optimizer": {"state": state}}


def whole(model: nn.Module, *, first: bool) -> dict[str, torch.Tensor]:
    """All parameters in float32 and all buffers; only buffers on others than the first."""
    found: dict[str, torch.Tensor] = dict(model.named_buffers())
    for name, parameter in model.named_parameters():
        value = _value(parameter)
        if first:
            found[name] = value
    return _persistent(model, found)


def _value(parameter: Any) -> torch.Tensor:
    """The whole parameter in float32, on the CPU. Of a frozen one, which no optimizer has, there is no master."""
    if parameter.requires_grad:
        found: torch.Tensor = _api().safe_get_full_fp32_param(parameter).detach().cpu()
        return found
    with _gathered(parameter):
        frozen: torch.Tensor = parameter.detach().float().cpu().clone()
        return frozen


def _gathered(parameter: Any) -> contextlib.AbstractContextManager[None]:
    """Context in which a parameter of stage 3 is whole, and what the first process writes into it is sent to all."""
    if not hasattr(parameter, "ds_id"):
        return contextlib.nullcontext()
    whole = importlib.import_module("deepspeed").zero.GatheredParameters
    found: contextlib.AbstractContextManager[None] = whole([parameter], modifier_rank=0)
    return found


def _persistent(model: nn.Module, found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without the buffers that a state dict leaves out."""
    buffers = {name for name, _ in model.named_buffers()}
    return {name: value for name, value in found.items() if name not in buffers or name in model.state_dict()}


def scatter(model: nn.Module, optimizer: torch.optim.Optimizer, world: World, read: Read) -> None:
    """Read some parameters at a time and put each where ZeRO keeps it: masters, moments, and the 16-bit copies."""
    names, step = _moments(optimizer)
    steps = torch.zeros(())
    for group in portions(model):
        state: State = {"model": {}, "optimizer": {"state": {}}}
        for name, parameter in group:
            state["model"][name] = torch.empty(_shape(parameter))
            if not parameter.requires_grad:
                continue
            state["optimizer"]["state"][name] = {moment: torch.zeros(_shape(parameter)) for moment in names}
            if step is not None:
                state["optimizer"]["state"][name]["step"] = torch.zeros(())
        read(state)
        for name, parameter in group:
            moments = state["optimizer"]["state"].get(name, {})
            if "step" in moments:  # 0 where no moments were saved; this optimizer counts for all parameters at once
                steps = torch.maximum(steps, moments["step"])
            _put(parameter, state["model"][name], moments, names, world)
    if step is not None:
        _count(optimizer, steps)
    buffers = _persistent(model, dict(model.named_buffers()))
    if buffers:
        read({"model": buffers})


def portions(model: nn.Module) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Parameters some at a time, in their order: as many as take AT_ONCE bytes with two moments each."""
    portion: list[tuple[str, nn.Parameter]] = []
    size = 0
    for name, parameter in model.named_parameters():
        bytes_here = 3 * 4 * _shape(parameter).numel()
        if portion and size + bytes_here > AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append((name, parameter))
        size += bytes_here
    yield portion


def _put(parameter: Any, value: torch.Tensor, moments: dict[str, torch.Tensor], names: list[str], world: World) -> None:
    api = _api()
    if not parameter.requires_grad:
        with _gathered(parameter), torch.no_grad():
            parameter.data.copy_(value)
        return
    if hasattr(parameter, "ds_id"):
        api.safe_set_local_fp32_param(parameter, _part(parameter, value, world))
        for moment in names:
            api.safe_set_local_optimizer_state(parameter, _part(parameter, moments[moment], world), moment)
        with _gathered(parameter), torch.no_grad():
            parameter.data.copy_(value)
        return
    device = parameter.device
    api.safe_set_full_fp32_param(parameter, value.to(device))
    for moment in names:
        api.safe_set_full_optimizer_state(parameter, moments[moment].to(device), moment)
    with torch.no_grad():
        parameter.data.copy_(value)


def _part(parameter: Any, value: torch.Tensor, world: World) -> torch.Tensor:
    """This process's part of a whole tensor, padded as stage 3 pads it."""
    length: int = parameter.ds_tensor.ds_numel
    flat = torch.zeros(length * world.size)
    flat[: value.numel()] = value.flatten()
    return flat[world.rank * length : (world.rank + 1) * length]


def _count(optimizer: torch.optim.Optimizer, step: torch.Tensor) -> None:
    for state in optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"].copy_(step.to(state["step"]))
        elif "step" in state:
            state["step"] = int(step)
