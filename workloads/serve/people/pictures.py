"""From the bytes of a picture to the model's input, by the artifact's own preprocessing. Runs on a thread."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from slipway.api.artifact import Preprocessing
from workloads.pictures import ERRORS, SIDEWAYS, orientation
from workloads.preprocess import normalise, prepare
from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid
from workloads.serve.people.detection import Geometry, geometry

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 64_000_000  # decoded; a small file can claim to be an enormous picture


def to_input(pictures: Sequence[bytes], how: Preprocessing) -> tuple[Array, list[Geometry]]:
    """float32 [pictures, channels, height, width], and the way back. Invalid for no picture, or too large a one."""
    read = [_pixels(picture, how, place) for place, picture in enumerate(pictures)]
    return normalise(np.stack([pixels for pixels, _ in read]), how), [way for _, way in read]


def _pixels(content: bytes, how: Preprocessing, place: int) -> tuple[Array, Geometry]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Invalid(f"picture {place + 1} has {image.width} x {image.height} pixels: too many")
            width, height = image.size
            if orientation(image) in SIDEWAYS:
                width, height = height, width
            return prepare(image, how), geometry(width, height, how)
    except UnidentifiedImageError as error:
        raise Invalid(f"picture {place + 1} is none of {', '.join(FORMATS)}") from error
    except ERRORS as error:
        raise Invalid(f"picture {place + 1} cannot be read: {error}") from error
