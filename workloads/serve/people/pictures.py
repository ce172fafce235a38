"""From the bytes of a picture to the model's input, by the artifact's own preprocessing. Runs on a thread."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from slipway.api.artifact import Preprocessing
from workloads.preprocess import normalise, prepare
from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 64_000_000  # decoded; a small file can claim to be an enormous picture


def to_input(pictures: Sequence[bytes], how: Preprocessing) -> Array:
    """float32 [pictures, channels, height, width]. Invalid for what is no picture, or too large a one."""
    pixels = [_pixels(picture, how, place) for place, picture in enumerate(pictures)]
    return normalise(np.stack(pixels), how)


def _pixels(content: bytes, how: Preprocessing, place: int) -> Array:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Invalid(f"picture {place + 1} has {image.width} x {image.height} pixels: too many")
            return prepare(image, how)
    except UnidentifiedImageError as error:
        raise Invalid(f"picture {place + 1} is none of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that Pillow raises
        raise Invalid(f"picture {place + 1} cannot be read: {error}") from error
