"""A small U-Net (Ronneberger, Fischer, Brox 2015): a class for each pixel, from coarse features and fine ones.

Three times half the size and back, by nearest neighbours: any size goes in. Normalisation is of each picture by itself
(Wu and He 2018): the gradient of a global batch is the same however many processes share it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from workloads.models.registry import Images

LEVELS = 3


class UNet(nn.Module):
    """Input float32 [batch, channels, height, width]; output logits [batch, classes, height, width]."""

    def __init__(self, channels: int, classes: int, features: int) -> None:
        super().__init__()
        widths = [features << level for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(low + high, high) for high, low in pairwise(widths))
        self.last = nn.Conv2d(features, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.last.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        seen, hidden = [], images
        for level, block in enumerate(self.down):
            hidden = block(hidden if level == 0 else nn.functional.max_pool2d(hidden, 2, ceil_mode=True))
            seen.append(hidden)
        for level in reversed(range(LEVELS)):
            fine = seen[level]
            coarse = nn.functional.interpolate(hidden, size=fine.shape[-2:], mode="nearest")
            hidden = self.up[level](torch.cat([fine, coarse], dim=1))
        logits: Tensor = self.last(hidden)
        return logits


def _block(before: int, after: int) -> nn.Module:
    return nn.Sequential(*_layer(before, after), *_layer(after, after))


def _layer(before: int, after: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(1, after), nn.ReLU()


def build(_name: str, **arguments: int) -> nn.Module:
    """A new U-Net."""
    return UNet(**arguments)


def arguments(_name: str, images: Images, width: int) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor; `width` of the recipe is the number of channels at full size."""
    return {"channels": images.channels, "classes": images.classes, "features": width}
