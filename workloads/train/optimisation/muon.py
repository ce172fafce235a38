"""Muon (Jordan et al. 2024) for matrices between embedding and output, AdamW for the others, as one optimizer.

One learning rate serves both: Muon's updates are scaled to the root mean square that AdamW's have (Liu et al. 2025,
arXiv:2502.16982, section 2.2).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights with two axes, but those of embeddings and of the last linear layer, which answers."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    spared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    spared |= {id(layers[-1].weight)} if layers else set()
    return [one for one in model.parameters() if one.requires_grad and one.ndim == 2 and id(one) not in spared]


class MuonBesideAdamW(torch.optim.Optimizer):
    """Both of torch's optimizers over one list of groups and one state, which checkpoints see as of any other.

    A group says by `muon` which of them it belongs to.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float, adam: dict[str, Any]) -> None:
        wanted = [group for group in groups if group["muon"]]
        others = [group for group in groups if not group["muon"]]
        parts: list[tuple[bool, torch.optim.Optimizer]] = []
        if wanted:
            muon = torch.optim.Muon(wanted, lr=adam["lr"], momentum=momentum, adjust_lr_fn="match_rms_adamw")
            parts.append((True, muon))
        if others:
            parts.append((False, torch.optim.AdamW(others, **adam)))
        # With the constants of the optimizer that each belongs to, which it would not find later.
        super().__init__([group for _, part in parts for group in part.param_groups], {})
        self._parts = parts

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make a step of both."""
        loss = closure() if closure is not None else None
        for muon, part in self._parts:
            # Anew each time: a state that is loaded comes as other objects.
            part.param_groups = [group for group in self.param_groups if bool(group["muon"]) is muon]
            part.state = self.state
            part.step()
        return loss
