"""Discs, boxes and triangles drawn over real photographs: a detector's data that needs no download.

The photographs are the two in scikit-learn's package. Every picture is a piece of one of them, made from its index
alone. Held-out pictures come from the right fifth of the photographs, which no training picture shows.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from slipway.api.common.artifact import DatasetReference, FileDigest, Preprocessing
from workloads import storage
from workloads.data.datasets import SPLIT_SEED, Augmentation
from workloads.data.detection.boxes import BoxSet, padded
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CLASSES = ("disc", "box", "triangle")
SIZE = 64
TRAINING, HELD_OUT = 4096, 256
HELD_OUT_SHARE = 0.2
PIECES = (64, 160)  # pixels of a photograph's piece, before it is scaled
MOST = 4
SIDES = (12, 36)  # pixels of a shape


@dataclass(frozen=True)
class DrawnShapes:
    """Pictures by index, drawn when they are asked for."""

    photographs: "tuple[npt.NDArray[np.uint8], ...]"
    count: int
    salt: int

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _kept(self) -> "dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]":
        """Cache of drawn pictures: a whole set is 50 MB, and drawing takes longer than a small model's step."""
        return {}

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]":
        """Pictures and padded boxes, in the layout of `Boxed`."""
        for index in indices:
            if index not in self._kept:
                self._kept[index] = self._draw(int(index))
        drawn = [self._kept[index] for index in indices]
        return np.stack([pixels for pixels, _ in drawn]), padded([boxes for _, boxes in drawn], MOST)

    def _draw(self, index: int) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]":
        random = np.random.RandomState([SPLIT_SEED % 2**32, self.salt, index])
        photograph = self.photographs[random.randint(len(self.photographs))]
        side = random.randint(PIECES[0], min(PIECES[1], *photograph.shape[:2]) + 1)
        top, left = (random.randint(length - side + 1) for length in photograph.shape[:2])
        piece = Image.fromarray(photograph[top : top + side, left : left + side]).resize((SIZE, SIZE))
        pen = ImageDraw.Draw(piece)
        rows: list[list[float]] = []
        for _ in range(random.randint(1, MOST + 1)):
            box = _place(random, rows)
            if box is not None:
                kind = random.randint(len(CLASSES))
                _shape(pen, kind, box, tuple(random.randint(0, 256, 3).tolist()))
                rows.append([kind, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]])
        pixels = np.ascontiguousarray(np.asarray(piece, dtype=np.uint8).transpose(2, 0, 1))
        return pixels, np.asarray(rows, dtype=np.float32).reshape(-1, 5)


def _place(random: np.random.RandomState, rows: list[list[float]]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of a shape that covers no other; None when there is no room."""
    for _ in range(8):
        width, height = random.randint(SIDES[0], SIDES[1] + 1, 2).tolist()
        left, top = random.randint(SIZE - width), random.randint(SIZE - height)
        apart = (
            abs(left + width / 2 - x) >= (width + w) / 2 or abs(top + height / 2 - y) >= (height + h) / 2
            for _, x, y, w, h in rows
        )
        if all(apart):
            return left, top, left + width, top + height
    return None


def _shape(pen: ImageDraw.ImageDraw, kind: int, box: tuple[int, int, int, int], colour: tuple[int, ...]) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    if kind == 0:
        pen.ellipse((left, top, right, bottom), fill=colour)
    elif kind == 1:
        pen.rectangle((left, top, right, bottom), fill=colour)
    else:
        pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=colour)


def _files() -> list[Path]:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("the data set shapes is drawn over scikit-learn's photographs, which is not installed here")
    return [Path(spec.submodule_search_locations[0]) / "datasets/images" / name for name in PHOTOGRAPHS]


def load(_uri: str | None) -> BoxSet:
    """The data set; the same on every machine that has the same photographs."""
    files = _files()
    whole = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    cuts = [round(photograph.shape[1] * (1 - HELD_OUT_SHARE)) for photograph in whole]
    left = tuple(photograph[:, :cut] for photograph, cut in zip(whole, cuts, strict=True))
    right = tuple(photograph[:, cut:] for photograph, cut in zip(whole, cuts, strict=True))
    digests = [FileDigest(path=p.name, size=p.stat().st_size, digest=storage.sha256_of(p)) for p in files]
    return BoxSet(
        training=DrawnShapes(left, TRAINING, 0),  # type: ignore[arg-type]
        held_out=DrawnShapes(right, HELD_OUT, 1),  # type: ignore[arg-type]
        labels=CLASSES,
        preprocessing=Preprocessing(channels=3, height=SIZE, width=SIZE, mean=[0.5] * 3, std=[0.25] * 3),
        augmentation=Augmentation(),
        reference=DatasetReference(
            name="shapes",
            digest=storage.tree_digest(digests),
            training_samples=TRAINING,
            held_out_samples=HELD_OUT,
        ),
    )
