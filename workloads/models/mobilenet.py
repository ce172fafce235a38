"""MobileNetV2 (Sandler et al. 2018) in plain torch.

Parameter names are torchvision's, so its state dicts load with `load_state_dict`. Images of at most 64 pixels are not
halved by the first layers, as is usual for CIFAR.
"""

from torch import Tensor, nn

from workloads.models.registry import Images

SMALL_IMAGE = 64
# Expansion, channels, repeats, stride of the first: table 2 of the paper.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, LAST = 32, 1280
DROPOUT = 0.2


class ConvNormActivation(nn.Sequential):
    """Convolution, batch norm, ReLU6."""

    def __init__(self, before: int, after: int, size: int = 3, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(before, after, size, stride, padding=size // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(after), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 to many channels, 3x3 on each of them, 1x1 back to few, and a shortcut where the shape stays."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = before * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [ConvNormActivation(before, hidden, 1)]
        layers += [
            ConvNormActivation(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, after, 1, bias=False),
            nn.BatchNorm2d(after),
        ]
        self.conv = nn.Sequential(*layers)
        self._shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] -> [batch, after, h / stride, w / stride]."""
        found: Tensor = self.conv(x)
        return x + found if self._shortcut else found


class MobileNetV2(nn.Module):
    """Input float32 [batch, channels, height, width]; output logits [batch, classes]."""

    def __init__(self, channels: int, classes: int, small_images: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormActivation(channels, FIRST, stride=1 if small_images else 2)]
        before = FIRST
        for number, (expansion, after, repeats, first_stride) in enumerate(STAGES):
            stride = 1 if small_images and number == 1 else first_stride
            for repeat in range(repeats):
                layers.append(InvertedResidual(before, after, stride if repeat == 0 else 1, expansion))
                before = after
        layers.append(ConvNormActivation(before, LAST, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(LAST, classes))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def build(_name: str, *, channels: int, classes: int, small_images: bool) -> nn.Module:
    """A new MobileNetV2."""
    return MobileNetV2(channels, classes, small_images)


def arguments(_name: str, images: Images, _width: int) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor; the recipe's width does not apply."""
    return {
        "channels": images.channels,
        "classes": images.classes,
        "small_images": max(images.height, images.width) <= SMALL_IMAGE,
    }
