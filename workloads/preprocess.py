"""How does a picture become the model's input?

artifact.json's `preprocessing`, in numpy and Pillow alone, for servers without torch.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from slipway.api.artifact import Preprocessing

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def prepare(image: Image.Image, how: Preprocessing) -> "npt.NDArray[np.uint8]":
    """Turned upright as its EXIF data say, converted, scaled and cut. uint8 [channels, height, width]."""
    picture = ImageOps.exif_transpose(image).convert("L" if how.channels == 1 else "RGB")
    size = (how.width, how.height)
    if how.resize is not None:
        shorter = min(picture.size)
        scaled = (round(picture.width * how.resize / shorter), round(picture.height * how.resize / shorter))
        picture = picture.resize((max(scaled[0], size[0]), max(scaled[1], size[1])), RESAMPLING[how.interpolation])
        left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
        picture = picture.crop((left, top, left + size[0], top + size[1]))
    elif picture.size != size:
        picture = picture.resize(size, RESAMPLING[how.interpolation])
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if how.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def normalise(pixels: "npt.NDArray[np.uint8]", how: Preprocessing) -> "npt.NDArray[np.float32]":
    """uint8 [n, channels, height, width] to the float32 that the model takes."""
    mean = np.asarray(how.mean).reshape(1, -1, 1, 1)
    std = np.asarray(how.std).reshape(1, -1, 1, 1)
    result = pixels.astype(np.float32)
    result *= (how.scale / std).astype(np.float32)
    result += (-mean / std).astype(np.float32)
    return result
