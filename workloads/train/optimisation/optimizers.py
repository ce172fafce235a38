"""Optimizers of torch by the recipe's name and constants, and the groups of parameters by weight decay."""

import fnmatch
from typing import Any

import torch
from torch import nn

from slipway.api.training.learning.optimizer import Optimizer, OptimizerName
from workloads.errors import BadInput
from workloads.train.optimisation.muon import MuonBesideAdamW, hidden_matrices

BETA2, EPSILON = 0.999, 1e-8


def parameter_groups(choice: Optimizer, model: nn.Module) -> list[dict[str, Any]]:
    """Groups of parameters by weight decay, which is for matrices and kernels, not for biases and normalisation.

    BadInput for a pattern of optimizer.noDecay that no parameter matches.
    """
    named = {name: one for name, one in model.named_parameters() if one.requires_grad}
    free = set[str]()
    for pattern in choice.no_decay or []:
        matched = fnmatch.filter(named, pattern)
        if not matched:
            raise BadInput(f"optimizer.noDecay: no parameter is called {pattern!r}; there are {', '.join(named)[:300]}")
        free.update(matched)
    decayed = [one for name, one in named.items() if one.ndim > 1 and name not in free]
    others = [one for name, one in named.items() if one.ndim <= 1 or name in free]
    groups = [{"params": decayed, "weight_decay": choice.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def adam_constants(choice: Optimizer) -> dict[str, Any]:
    """AdamW's constants; momentum is its beta1."""
    betas = (choice.momentum, BETA2 if choice.beta2 is None else choice.beta2)
    return {"lr": choice.learning_rate, "betas": betas, "eps": choice.epsilon or EPSILON}


def build_optimizer(choice: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer. BadInput where this torch has none of that name."""
    groups, rate = parameter_groups(choice, model), choice.learning_rate
    if choice.name is OptimizerName.ADAMW:
        return torch.optim.AdamW(groups, amsgrad=bool(choice.amsgrad), **adam_constants(choice))
    if choice.name is OptimizerName.ADAFACTOR:
        return torch.optim.Adafactor(groups, lr=rate)
    if choice.name is OptimizerName.MUON:
        return _muon(choice, model, groups)
    return torch.optim.SGD(
        groups, lr=rate, momentum=choice.momentum, dampening=choice.dampening or 0.0, nesterov=bool(choice.nesterov)
    )


def _muon(choice: Optimizer, model: nn.Module, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise BadInput(f"optimizer.name muon needs torch 2.9 or later, this is {torch.__version__}: use adamw")
    matrices = {id(one) for one in hidden_matrices(model)}
    if not matrices:
        raise BadInput(
            "optimizer.name muon is for matrices between embedding and output, and there are none: use adamw"
        )
    split = []
    for group in groups:
        for muon in (True, False):
            chosen = [one for one in group["params"] if (id(one) in matrices) is muon]
            split += [{**group, "params": chosen, "muon": muon}] if chosen else []
    return MuonBesideAdamW(split, momentum=choice.momentum, adam=adam_constants(choice))
