"""Statistics of the inputs of a layer's linear parts: second moments for GPTQ, some rows for AWQ."""

from collections.abc import Callable

import torch
from torch import nn

from workloads.language import linear

ROWS = 512  # of a layer's inputs that AWQ looks at


class Inputs:
    """Inputs that a layer's linear parts see from now on, until `close`. By the parts' names."""

    def __init__(self, layer: nn.Module) -> None:
        self.moments: dict[str, torch.Tensor] = {}
        self.rows: dict[str, torch.Tensor] = {}
        self._hooks = [part.register_forward_pre_hook(self._noting(name)) for name, part in linear.parts(layer)]

    def _noting(self, name: str) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            found = given[0].reshape(-1, given[0].shape[-1])
            self.moments[name] = self.moments.get(name, 0) + (found.double().t() @ found.double())
            held = self.rows.get(name)
            if held is None or len(held) < ROWS:
                some = found[:: max(1, len(found) // 32)]
                self.rows[name] = some.clone() if held is None else torch.cat([held, some])[:ROWS]

        return note

    def close(self) -> None:
        """Look no more."""
        for hook in self._hooks:
            hook.remove()
