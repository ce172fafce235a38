"""Random changes of pictures with boxes: a picture and its boxes are mirrored, scaled and shifted together.

Called by the training samples of detectors; each picture by its own random bits, so nothing depends on batches.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from workloads.data.datasets import Augmentation
from workloads.data.detection.boxes import NONE

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.data.detection.boxes import Boxes, Pixels

GREY = 114  # outside of the picture, as YOLO's trainers have it
LEFT = 0.25  # share of a box that must be in sight, or it is none
LEAST_SIDE = 2.0  # pixels


def moved(
    pixels: "Pixels", boxes: "Boxes", how: Augmentation, bits: "npt.NDArray[np.uint64]"
) -> "tuple[Pixels, Boxes]":
    """Pixels [n, c, h, w] and boxes [n, most, 5] in and out; a box that has left the picture becomes a row of none."""
    pairs = [_one(*one, how) for one in zip(pixels, boxes, bits, strict=True)]
    return np.stack([picture for picture, _ in pairs]), np.stack([rows for _, rows in pairs])


def _one(
    picture: "npt.NDArray[np.uint8]", rows: "npt.NDArray[np.float32]", bits: np.uint64, how: Augmentation
) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]":
    height, width = picture.shape[1:]
    number, rows = int(bits), rows.copy()
    if how.flip and number & 1:
        picture = picture[:, :, ::-1]
        rows[:, 1] = np.where(rows[:, 0] == NONE, rows[:, 1], width - rows[:, 1])
    if not how.scale:
        return np.ascontiguousarray(picture), rows
    factor = 1 + how.scale * (2 * _share(number, 8) - 1)
    # Anywhere as long as the smaller of picture and frame is whole in the other.
    left, top = (_share(number, at) * (1 - factor) * side for at, side in ((24, width), (40, height)))
    matrix = (1 / factor, 0, -left / factor, 0, 1 / factor, -top / factor)
    channels = [
        Image.fromarray(channel).transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
        )
        for channel in np.ascontiguousarray(picture)
    ]
    return np.stack([np.asarray(channel) for channel in channels]), _scaled(rows, factor, left, top, width, height)


def _share(bits: int, at: int) -> float:
    """16 of the bits as a number from 0 to 1."""
    return (bits >> at & 0xFFFF) / 0xFFFF


def _scaled(
    rows: "npt.NDArray[np.float32]", factor: float, left: float, top: float, width: int, height: int
) -> "npt.NDArray[np.float32]":
    centre, half = rows[:, 1:3] * factor + (left, top), rows[:, 3:] * factor / 2
    low, high = np.clip(centre - half, 0, (width, height)), np.clip(centre + half, 0, (width, height))
    sides = high - low
    seen = sides.prod(1) >= LEFT * np.maximum((2 * half).prod(1), 1e-9)
    kept = (rows[:, 0] != NONE) & seen & (sides >= LEAST_SIDE).all(1)
    result = np.full_like(rows, NONE)
    result[kept] = np.column_stack([rows[:, 0], (low + high) / 2, sides])[kept]
    return result
