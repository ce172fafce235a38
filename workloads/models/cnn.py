"""A plain CNN for small images: blocks of convolution, ReLU and max-pool until the map is at most 7 pixels wide, then
two linear layers.

It has no normalisation layer on purpose: the gradient of a global batch is then the same however many processes share
the batch, and there is nothing to fold before quantization. He initialisation keeps it stable at usual learning rates.
"""

from torch import Tensor, nn

from workloads.models.registry import Images

LARGEST_MAP = 7
MIN_BLOCKS = 2


class Cnn(nn.Module):
    """Input float32 [batch, channels, height, width]; output logits [batch, classes]."""

    def __init__(self, channels: int, height: int, width: int, classes: int, features: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before, after, count = channels, features, 0
        while count < MIN_BLOCKS or max(height, width) > LARGEST_MAP:
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            if max(height, width) > LARGEST_MAP:
                blocks.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            before, after, count = after, min(after * 2, features * 8), count + 1
        self.features = nn.Sequential(*blocks)
        self.hidden = nn.Linear(before * height * width, features * 4)
        self.last = nn.Linear(features * 4, classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(
            self.last.weight, std=0.01
        )  # first logits near zero: the first loss is ln(classes) and not a shock

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        hidden = nn.functional.relu(self.hidden(self.features(images).flatten(1)))
        logits: Tensor = self.last(hidden)
        return logits


def build(_name: str, **arguments: int) -> nn.Module:
    """A new CNN."""
    return Cnn(**arguments)


def arguments(_name: str, images: Images, width: int) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor; `width` of the recipe is the number of channels after the first convolution."""
    return {
        "channels": images.channels,
        "height": images.height,
        "width": images.width,
        "classes": images.classes,
        "features": width,
    }
