"""Conversion of a picture to the model's input.

artifact.json's `preprocessing`, in numpy and Pillow alone, for servers without torch.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from slipway.api.common.artifact import Preprocessing
from workloads.vision.decoding import SIDEWAYS, in_8_bits, orientation, settle_transparency, upright

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
# A picture is brought near to its final size by whole factors first, which costs little memory; so many times larger it
# stays, for the last step to be exact.
GAP = 2
# EXIF orientations whose upright left or top is the stored right or bottom.
FROM_THE_RIGHT, FROM_THE_BOTTOM = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})


def prepare(image: Image.Image, how: Preprocessing) -> "npt.NDArray[np.uint8]":
    """Picture turned upright as its EXIF data say, converted, scaled and cut: uint8 [channels, height, width].

    Large pictures are decoded (JPEG) or averaged to at least twice the final size before they are scaled. Raises what
    workloads.vision.decoding.ERRORS lists.
    """
    settle_transparency(image)
    turned = orientation(image)
    target = scaled_size(image.size, how, turned)
    left, top, wide, high = window(target, how, turned)
    exact = how.interpolation == "nearest"  # these pixels are chosen and not mixed
    # What the pixels stand for: the last ones of a JPEG that is decoded smaller may stand for less than a whole one.
    decoded = None if exact else image.draft(None, (target[0] * GAP, target[1] * GAP))
    width, height = decoded[1][2:] if decoded is not None else image.size
    factor = 1 if exact else max(1, int(min(width / (target[0] * GAP), height / (target[1] * GAP))))
    across, down = width / target[0], height / target[1]
    box = left * across, top * down, min((left + wide) * across, width), min((top + high) * down, height)
    if exact:
        image, box = image.resize((wide, high), Image.Resampling.NEAREST, box), (0, 0, wide, high)
    picture = in_8_bits(image, how.channels, factor)
    if picture.size != (wide, high) or box != (0, 0, wide, high):
        smaller = box[0] / factor, box[1] / factor, box[2] / factor, box[3] / factor
        picture = picture.resize((wide, high), RESAMPLING[how.interpolation], smaller)
    pixels = np.asarray(_filled(upright(picture, turned), how), dtype=np.uint8)
    return pixels[None] if how.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _filled(picture: Image.Image, how: Preprocessing) -> Image.Image:
    """Picture in the middle of the grey that a letterbox leaves free; as it is without one."""
    size = (how.width, how.height)
    if not how.letterbox or picture.size == size:
        return picture
    whole = Image.new(picture.mode, size, how.fill if how.channels == 1 else (how.fill,) * 3)
    whole.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    return whole


def window(scaled: tuple[int, int], how: Preprocessing, turned: int = 1) -> tuple[int, int, int, int]:
    """Left, top, width and height of the centre, in a picture of this size as it is stored; all of it in a letterbox.

    Only the centre is ever scaled: of a picture of 40000 x 10 pixels the whole would have hundreds of millions.
    """
    if how.letterbox:
        return 0, 0, *scaled
    sideways = turned in SIDEWAYS
    wide, high = (how.height, how.width) if sideways else (how.width, how.height)
    rest = scaled[0] - wide, scaled[1] - high
    left, top = rest[0] // 2, rest[1] // 2
    # The centre is rounded to the left and to the top of the upright picture.
    return (
        rest[0] - left if turned in FROM_THE_RIGHT else left,
        rest[1] - top if turned in FROM_THE_BOTTOM else top,
        wide,
        high,
    )


def scaled_size(stored: tuple[int, int], how: Preprocessing, turned: int = 1) -> tuple[int, int]:
    """Width and height before the centre is cut, as the picture is stored, which its EXIF orientation may turn."""
    size = (how.width, how.height)
    width, height = stored[::-1] if turned in SIDEWAYS else stored
    if how.letterbox:
        share = min(size[0] / width, size[1] / height)
        size = max(1, round(width * share)), max(1, round(height * share))
    elif how.resize is not None:
        shorter = min(width, height)
        size = max(round(width * how.resize / shorter), size[0]), max(round(height * how.resize / shorter), size[1])
    return (size[1], size[0]) if turned in SIDEWAYS else size


def normalise(pixels: "npt.NDArray[np.uint8]", how: Preprocessing) -> "npt.NDArray[np.float32]":
    """uint8 [n, channels, height, width] to the float32 that the model takes, in its layout."""
    if how.order == "BGR":
        pixels = pixels[:, ::-1]
    mean = np.asarray(how.mean).reshape(1, -1, 1, 1)
    std = np.asarray(how.std).reshape(1, -1, 1, 1)
    result = pixels.astype(np.float32)
    result *= (how.scale / std).astype(np.float32)
    result += (-mean / std).astype(np.float32)
    return result if how.layout == "NCHW" else np.ascontiguousarray(result.transpose(0, 2, 3, 1))
