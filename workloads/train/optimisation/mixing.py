"""Mixtures of training pictures: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019).

Targets become shares of classes. Random numbers come from torch's generator, which the loop seeds for each step, so a
resumed run mixes as the one before; other numbers of processes mix other pictures, as with dropout.
"""

import math

import torch
from torch import nn

from slipway.api.training.recipe import Augmentation


def mixes(how: Augmentation | None) -> bool:
    """Tell whether pictures are mixed."""
    return how is not None and (how.mixup is not None or how.cutmix is not None)


def mixed(
    how: Augmentation, pictures: torch.Tensor, targets: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [n, c, h, w] mixed with each other, and targets [n] as shares [n, classes], which sum to 1.

    With both ways set, one of them is drawn for each batch.
    """
    cut = how.cutmix is not None and (how.mixup is None or bool(torch.rand(()) < 0.5))
    alpha = float((how.cutmix if cut else how.mixup) or 1.0)
    # A beta distribution of torch's would draw from numpy's or its own generator's state in another order per device.
    first, second = (torch._standard_gamma(torch.tensor(alpha, dtype=torch.float64)) for _ in range(2))
    share = float(first / (first + second)) if float(first + second) > 0 else 0.5
    order = torch.randperm(len(pictures)).to(pictures.device)
    if cut:
        pictures, share = _pasted(pictures, pictures[order], share)
    else:
        pictures = pictures * share + pictures[order] * (1 - share)
    own = nn.functional.one_hot(targets, classes).float()
    return pictures, own * share + own[order] * (1 - share)


def _pasted(pictures: torch.Tensor, others: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    """Pictures with a box from others, of `1 - share` of their area; and the share that is left of them."""
    height, width = pictures.shape[-2:]
    tall, wide = (round(side * math.sqrt(1 - share)) for side in (height, width))
    row, column = int(torch.randint(height, ())), int(torch.randint(width, ()))
    top, bottom = max(0, row - tall // 2), min(height, row - tall // 2 + tall)
    left, right = max(0, column - wide // 2), min(width, column - wide // 2 + wide)
    made = pictures.clone()
    made[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return made, 1 - (bottom - top) * (right - left) / (height * width)
