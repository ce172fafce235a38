"""A picture in 8 bits a channel, grey or RGB, whatever Pillow opens it as. For training, quantizing and serving alike.

Wider values are scaled by the range of their type, transparent pixels lie on white as in a browser, of several frames
the first counts. What has no range that anybody knows is refused in words.
"""

import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

# All that Pillow raises for bytes that are not what they say; it has no base class for them.
ERRORS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    EOFError,
    struct.error,
)
WIDE = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
WHITE = (255, 255, 255, 255)
ORIENTATION = 0x0112  # EXIF
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 258, 262, 0
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})  # these exchange width and height
STRETCHED = {"L;2": 85, "L;4": 17}  # grey of few bits, by what Pillow multiplies it
STRIP = 1 << 20  # pixels that are converted at once: wide modes need several bytes more for each

Convert = Callable[[Image.Image], Image.Image]


class Unreadable(ValueError):  # noqa: N818 (read as what happened, at every raise)
    """A picture whose values nobody can interpret."""


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none that can be read: a picture is more than its metadata."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except ERRORS:
        return 1
    return found if isinstance(found, int) and found in UPRIGHT else 1


def upright(image: Image.Image, turned: int) -> Image.Image:
    """Picture turned and mirrored as this EXIF orientation says."""
    method = UPRIGHT.get(turned)
    return image if method is None else image.transpose(method)


def settle_transparency(image: Image.Image) -> None:
    """Put the transparent value of a PNG into the units of its pixels; called before these are decoded."""
    if image.format != "PNG" or not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    transparent, tile = image.info.get("transparency"), image.tile
    if isinstance(transparent, tuple) and max(transparent) > 255:  # of 16 bits a channel Pillow keeps the upper byte
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    raw = tile[0][3][0] if isinstance(tile[0][3], tuple) else tile[0][3]
    if isinstance(transparent, int) and raw in STRETCHED:
        image.info["transparency"] = transparent * STRETCHED[raw]


def in_8_bits(image: Image.Image, channels: int, factor: int = 1) -> Image.Image:
    """Mode L or RGB, both sides divided by `factor`: each pixel is the mean of factor x factor. Unreadable in words.

    Works strip by strip: beside the decoded picture only the result and one strip are in memory.
    """
    convert = _converter(image)
    mode = "L" if channels == 1 else "RGB"
    if factor == 1 and image.mode == mode and "transparency" not in image.info:
        return image
    width, height = image.size
    result = Image.new(mode, (-(-width // factor), -(-height // factor)))
    rows = max(1, STRIP // (width * factor)) * factor
    for top in range(0, height, rows):
        strip = convert(image.crop((0, top, width, min(height, top + rows))))
        if strip.mode != mode:
            strip = strip.convert(mode)
        result.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return result


def _converter(image: Image.Image) -> Convert:
    """Converter of this picture's strips to L or RGB."""
    if image.mode in WIDE:
        return _from_wide(image, _largest(image))
    if image.mode == "I" and image.format == "PPM":  # which Pillow scales to 16 bits
        return _from_wide(image, 0xFFFF)
    if image.mode == "LAB":
        return _from_lab()
    if image.mode in ALPHA or "transparency" in image.info:
        return _on_white(image)
    if image.mode in PLAIN:
        return lambda strip: strip if strip.mode in {"L", "RGB"} else strip.convert("L" if strip.mode == "1" else "RGB")
    kind = {"I": "32-bit whole numbers", "F": "floating-point numbers"}.get(image.mode, f"of the mode {image.mode}")
    raise Unreadable(f"its pixels are {kind}, whose range it does not say: send 8 or 16 bits a channel")


def _largest(image: Image.Image) -> int:
    """Value of white in 16-bit grey: a TIFF may use fewer bits of them."""
    bits = _tiff(image, TIFF_BITS, 16)
    return (1 << bits) - 1 if 8 < bits < 16 else 0xFFFF


def _tiff(image: Image.Image, tag: int, otherwise: int) -> int:
    tags = getattr(image, "tag_v2", None)
    found = tags.get(tag) if tags is not None else None
    if isinstance(found, tuple):
        found = found[0] if found else None
    return found if isinstance(found, int) else otherwise


def _from_wide(image: Image.Image, largest: int) -> Convert:
    inverted = _tiff(image, TIFF_PHOTOMETRIC, 1) == TIFF_WHITE_IS_ZERO
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip).astype(np.uint32)
        grey = (np.minimum(values, largest) * 255 + largest // 2) // largest
        if inverted:
            grey = 255 - grey
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        return Image.fromarray(grey.astype(np.uint8))

    return convert


def _from_lab() -> Convert:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")

    def convert(strip: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(strip, transform)
        assert converted is not None  # noqa: S101  (only in place there is nothing to return)
        return converted

    return convert


def _on_white(image: Image.Image) -> Convert:
    def convert(strip: Image.Image) -> Image.Image:
        layer = strip.convert("LA").convert("RGBA") if strip.mode == "La" else strip.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, WHITE), layer).convert("RGB")

    return convert
