"""A small one-stage detector in the manner of YOLO: each place of two or three maps says what lies there, and where.

Its output is in YOLOv5's layout (see workloads.vision.detection), so what reads its models reads this one. Centre and
size are decoded as there (Jocher 2020), which keeps a box within four times its anchor's size, and its centre
within half a place around its own. Backbone: residual convolutions (He 2016), then features of the coarser maps are
added to the finer ones (Lin 2017, FPN).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workloads.models.registry import Images

SMALL = 128  # pixels; larger pictures have a third, coarser map
# Squares, in strides: with YOLOv5's reach of four times, boxes from half a place to twenty.
ANCHORS = (2.0, 3.2, 5.0)
PRIOR = -4.0  # of objectness before training: nearly every place is empty, which must not be what is learned first


@dataclass(frozen=True)
class Grid:
    """Grid of the predictions [n]: places in their maps (float32 [n, 2]), strides and sizes of anchors in pixels."""

    places: Tensor
    strides: Tensor
    anchors: Tensor


def strides_for(height: int, width: int) -> tuple[int, ...]:
    """Strides of the maps, the finest first."""
    return (8, 16) if max(height, width) <= SMALL else (8, 16, 32)


def grid_for(height: int, width: int) -> Grid:
    """Grid for inputs of this size, in the order of the model's output: map by map, anchor by anchor, row by row."""
    places, strides, anchors = [], [], []
    for stride in strides_for(height, width):
        rows, columns = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        own = torch.stack([columns, rows], dim=-1).reshape(-1, 2).float()
        for anchor in ANCHORS:
            places.append(own)
            strides.append(torch.full((len(own),), float(stride)))
            anchors.append(torch.full((len(own),), anchor * stride))
    return Grid(torch.cat(places), torch.cat(strides), torch.cat(anchors))


def boxes_from(raw: Tensor, grid: Grid) -> Tensor:
    """Centre and size in pixels [.., n, 4] from the raw numbers [.., n, 4]."""
    near = raw.sigmoid() * 2
    centre = (near[..., :2] - 0.5 + grid.places) * grid.strides[:, None]
    return torch.cat([centre, near[..., 2:4] ** 2 * grid.anchors[:, None]], dim=-1)


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.SiLU())


class Block(nn.Module):
    """Halves the map, then changes it by a residual."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = _convolution(before, after, 3, 2)
        self.change = nn.Sequential(_convolution(after, after // 2, 1), _convolution(after // 2, after, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h / 2, w / 2]."""
        halved = self.down(maps)
        result: Tensor = halved + self.change(halved)
        return result


class Yolo(nn.Module):
    """Input float32 [batch, channels, height, width], both divisible by the largest stride.

    Output [batch, n, 5 + classes]: in training raw numbers, which the loss needs; otherwise YOLOv5's layout.
    """

    def __init__(self, channels: int, height: int, width: int, classes: int, features: int) -> None:
        super().__init__()
        strides = strides_for(height, width)
        widths = [features * 4, features * 8, features * 8][: len(strides)]
        self.stem = nn.Sequential(_convolution(channels, features, 3, 2), Block(features, features * 2))
        entries = [features * 2, *widths[:-1]]
        self.stages = nn.ModuleList(Block(before, after) for before, after in zip(entries, widths, strict=True))
        self.lateral = nn.ModuleList(_convolution(after, widths[0], 1) for after in widths)
        self.smooth = nn.ModuleList(_convolution(widths[0], widths[0], 3) for _ in widths)
        self.heads = nn.ModuleList(nn.Conv2d(widths[0], len(ANCHORS) * (5 + classes), 1) for _ in widths)
        grid = grid_for(height, width)
        # They follow from the size: a checkpoint or an artifact has no need of them.
        self.register_buffer("places", grid.places, persistent=False)
        self.register_buffer("strides", grid.strides, persistent=False)
        self.register_buffer("anchors", grid.anchors, persistent=False)
        self._initialise(classes)

    def _initialise(self, classes: int) -> None:
        for head in self.heads:
            assert isinstance(head, nn.Conv2d)  # noqa: S101  (a ModuleList forgets what it holds)
            nn.init.normal_(head.weight, std=0.01)
            assert head.bias is not None  # noqa: S101
            with torch.no_grad():
                bias = head.bias.view(len(ANCHORS), 5 + classes)
                bias.zero_()
                bias[:, 4] = PRIOR

    def forward(self, images: Tensor) -> Tensor:
        """Predictions of a batch."""
        maps, found = self.stem(images), []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        above: Tensor | None = None
        results = []
        for index in reversed(range(len(found))):
            own = self.lateral[index](found[index])
            above = own if above is None else own + nn.functional.interpolate(above, scale_factor=2.0, mode="nearest")
            results.append(self._numbers(self.heads[index](self.smooth[index](above))))
        raw = torch.cat(results[::-1], dim=1)
        if self.training:
            return raw
        grid = Grid(self.places, self.strides, self.anchors)  # type: ignore[arg-type]
        return torch.cat([boxes_from(raw[..., :4], grid), raw[..., 4:].sigmoid()], dim=-1)

    def _numbers(self, maps: Tensor) -> Tensor:
        """[n, anchors x values, h, w] to [n, anchors x h x w, values]."""
        height, width = maps.shape[2:]
        parts = maps.reshape(-1, len(ANCHORS), maps.shape[1] // len(ANCHORS), height, width).permute(0, 1, 3, 4, 2)
        return parts.reshape(-1, len(ANCHORS) * height * width, parts.shape[-1])


def build(_name: str, **arguments: int) -> nn.Module:
    """A new detector."""
    return Yolo(**arguments)


def arguments(_name: str, images: Images, width: int) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor; `width` of the recipe is the number of channels after the first convolution."""
    return {
        "channels": images.channels,
        "height": images.height,
        "width": images.width,
        "classes": images.classes,
        "features": width,
    }
