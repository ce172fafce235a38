"""ResNet-18 and ResNet-50 (He et al. 2015, with the stride in the 3x3 convolution) in plain torch.

Parameter names are torchvision's, so its state dicts load with `load_state_dict`. Images of at most 64 pixels get a 3x3
stem with stride 1 and no max-pool, as is usual for CIFAR: the 7x7 stem would leave one or two pixels for the last
stage.
"""

from torch import Tensor, nn

from workloads.models.registry import Images

SMALL_IMAGE = 64
LAYERS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def _conv(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, before: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _conv(before, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] -> [batch, planes, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, before: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _conv(before, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv(planes, planes * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] -> [batch, 4 x planes, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        result: Tensor = self.relu(self.bn3(self.conv3(out)) + shortcut)
        return result


class ResNet(nn.Module):
    """Input float32 [batch, channels, height, width]; output logits [batch, classes]."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: tuple[int, ...],
        channels: int,
        classes: int,
        small_images: bool,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels, 64, 3) if small_images else _conv(channels, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        self._before = 64
        self.layer1 = self._layer(block, 64, layers[0], 1)
        self.layer2 = self._layer(block, 128, layers[1], 2)
        self.layer3 = self._layer(block, 256, layers[2], 2)
        self.layer4 = self._layer(block, 512, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, classes)
        self._initialise()

    def _layer(self, block: type[BasicBlock | Bottleneck], planes: int, count: int, stride: int) -> nn.Sequential:
        after = planes * block.expansion
        downsample = None
        if stride != 1 or self._before != after:
            downsample = nn.Sequential(_conv(self._before, after, 1, stride), nn.BatchNorm2d(after))
        blocks: list[nn.Module] = [block(self._before, planes, stride, downsample)]
        blocks += [block(after, planes, 1, None) for _ in range(count - 1)]
        self._before = after
        return nn.Sequential(*blocks)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            # Zero in each branch's last normalisation: the net starts as the identity (Goyal et al. 2017, section 5.1).
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def build(name: str, *, channels: int, classes: int, small_images: bool) -> nn.Module:
    """A new ResNet; `name` is resnet18 or resnet50."""
    block = BasicBlock if name == "resnet18" else Bottleneck
    return ResNet(block, LAYERS[name], channels, classes, small_images)


def arguments(_name: str, images: Images, _width: int) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor; the recipe's width does not apply to a ResNet."""
    return {
        "channels": images.channels,
        "classes": images.classes,
        "small_images": max(images.height, images.width) <= SMALL_IMAGE,
    }
