"""Models without memory: their parameters have shapes, types and names, and get values where they are needed.

For strategies that give each process a part of the model: built as usual, the whole of it would lie in the memory of
every process first. Buffers, which are small and which code fills as it pleases, keep their memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakTensorKeyDictionary


@contextmanager
def parameters_without_memory() -> Iterator[None]:
    """Context in which a parameter gives its memory back as soon as a module registers it; one at a time has any.

    What stays tied stays tied. What is computed from a parameter's numbers while a model is built is as meaningless as
    the numbers. Of this process, not of one thread.
    """
    register = nn.Module.register_parameter
    known = WeakTensorKeyDictionary()  # of a parameter that is registered in two places, what it became

    def emptied(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(self, name, parameter)
        if type(parameter) is not nn.Parameter or parameter.is_meta or is_lazy(parameter):
            return
        if parameter not in known:
            known[parameter] = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        self._parameters[name] = known[parameter]

    nn.Module.register_parameter = emptied  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def give_memory(model: nn.Module, device: torch.device, fill: Callable[[str, torch.Tensor], None]) -> None:
    """Give the parameters of a model memory on the device, and values by `fill`, by name and tensor.

    A parameter stays the same object, tied or held by an optimizer; buffers move as they are. Tensors that are parts
    of a parameter (DTensor) get the memory of the part alone.
    """
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model.to_empty(device=device)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fill(name, parameter)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
