"""Model input from the bytes of a picture, by the artifact's own preprocessing. Runs on a thread.

What a picture may cost is known before it is decoded: its file says how many pixels it has, and the model how many of
them are of use. Nothing interrupts a decoder once it has begun.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from slipway.api.common.artifact import Preprocessing
from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid
from workloads.serve.web.pictures import picture_file
from workloads.serve.web.pictures.detection import Geometry, geometry
from workloads.vision.decoding import ERRORS, SIDEWAYS, orientation
from workloads.vision.preprocessing import normalise, prepare, scaled_size

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# For each pixel of the model's input, before its centre is cut: so many of the picture that are all decoded.
OF_USE = 256
LEAST_PIXELS, MOST_PIXELS = 16_000_000, 40_000_000
# A JPEG is decoded near its final size: its other pixels cost only reading.
JPEG_TIMES = 4
MOST_BYTES = 192 << 20  # that one picture may take while it is decoded
# Measured: by the mode of Pillow, and with the strip that is being converted.
BYTES_A_PIXEL = {"1": 1.5, "L": 1.5, "P": 1.5, "I;16": 3.5, "I;16B": 3.5}
BYTES_A_PIXEL_ELSE, BYTES_OF_WEBP, BYTES_OF_COEFFICIENTS = 5.0, 17.0, 8.0
# What a pixel costs in time, in those of a PNG: of a JPEG that is decoded smaller, and of a WebP.
COST_OF_JPEG, COST_OF_WEBP = 1 / 6, 2.0
FIRST_BYTES = 64
SMALL = 300_000  # is decoded at once; what costs more is only looked at, so that small pictures never wait for it

Pixels = tuple[Array, Geometry]


@dataclass(frozen=True)
class PendingPicture:
    """A picture that is not decoded yet. `cost` in pixels of a PNG."""

    cost: float


def most_pixels(how: Preprocessing) -> int:
    """Most pixels that a picture for this model may have, where all of them are decoded."""
    width, height = scaled_size((1, 1), how)
    return min(MOST_PIXELS, max(LEAST_PIXELS, OF_USE * width * height))


def to_input(pictures: Sequence[bytes], how: Preprocessing) -> tuple[Array, list[Geometry]]:
    """float32 [pictures, channels, height, width], or as the layout says, and the way back.

    Invalid for no picture, or too large a one.
    """
    return stacked([whole(picture, how, place) for place, picture in enumerate(pictures)], how)


def stacked(read: Sequence[Pixels], how: Preprocessing) -> tuple[Array, list[Geometry]]:
    """Pictures as one input."""
    return normalise(np.stack([pixels for pixels, _ in read]), how), [way for _, way in read]


def whole(content: bytes, how: Preprocessing, place: int) -> Pixels:
    """Pixels of a picture of any size that is allowed: uint8 [channels, height, width], and the way back."""
    found = _opened(content, how, place, math.inf)
    assert not isinstance(found, PendingPicture)  # noqa: S101  (nothing costs more)
    return found


def within(content: bytes, how: Preprocessing, place: int, most: float) -> Pixels | PendingPicture:
    """Pixels as `whole` gives them; of a picture that costs more than `most` only its cost."""
    return _opened(content, how, place, most)


def if_small(content: bytes, how: Preprocessing, place: int) -> Pixels | PendingPicture:
    """Pixels as `whole` gives them; of a picture that takes long only its cost."""
    return within(content, how, place, SMALL)


def refuse_at_sight(head: bytes, how: Preprocessing, place: int) -> None:
    """Invalid for a picture whose first FIRST_BYTES say that it has too many pixels; most are told when it is opened.

    Quick enough for the event loop: a client that sends many such pictures costs the others no thread.
    """
    sizes = ((picture_file.png_size(head), 0.0), (picture_file.webp_size(head), BYTES_OF_WEBP))
    for size, bytes_a_pixel in sizes:
        if size is not None:
            _require(f"picture {place + 1}", size, bytes_a_pixel or min(BYTES_A_PIXEL.values()), most_pixels(how))


def _opened(content: bytes, how: Preprocessing, place: int, most: float) -> Pixels | PendingPicture:
    words = f"picture {place + 1}"
    try:
        picture_file.check(content)
        size = picture_file.webp_size(content)
        if size is not None:
            _require(words, size, BYTES_OF_WEBP, most_pixels(how))
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            cost = _cost(image, content, how, words)
            if cost > most:
                return PendingPicture(cost)
            width, height = image.size
            if orientation(image) in SIDEWAYS:
                width, height = height, width
            return prepare(image, how), geometry(width, height, how)
    except Invalid as error:
        raise Invalid(str(error) if str(error).startswith(words) else f"{words}: {error}") from error
    except UnidentifiedImageError as error:
        raise Invalid(f"{words} is none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise Invalid(f"{words} has more pixels than this model takes: make it smaller ({error})") from error
    except ERRORS as error:
        raise Invalid(f"{words} cannot be read: {error}") from error


def _cost(image: Image.Image, content: bytes, how: Preprocessing, words: str) -> float:
    """Cost of decoding a picture, in pixels of a PNG. Invalid when it takes more than this model is worth."""
    most, pixels = most_pixels(how), image.width * image.height
    if image.format in {"JPEG", "MPO"} and how.interpolation != "nearest":
        spread = bool(image.info.get("progressive")) or picture_file.scans(content) > len(image.getbands())
        _require(words, image.size, BYTES_OF_COEFFICIENTS if spread else 0, most * JPEG_TIMES)
        return pixels if spread else pixels * COST_OF_JPEG
    webp = image.format == "WEBP"
    each = BYTES_OF_WEBP if webp else BYTES_A_PIXEL.get(image.mode, BYTES_A_PIXEL_ELSE)
    _require(words, image.size, each, most)
    return pixels * COST_OF_WEBP if webp else pixels


def _require(words: str, size: tuple[int, int], bytes_a_pixel: float, most: int) -> None:
    if bytes_a_pixel:
        most = min(most, int(MOST_BYTES / bytes_a_pixel))
    if size[0] * size[1] > most:
        million = most / 1e6
        raise Invalid(
            f"{words} has {size[0]} x {size[1]} pixels, of such a file this model takes at most {million:.0f} million: "
            "make it smaller"
        )
