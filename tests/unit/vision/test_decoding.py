"""Each kind of picture that Pillow opens reaches the model with its whole range, or is refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from slipway.api.common.artifact import Preprocessing
from tests.unit.hostile.cost import assert_within
from workloads.data.images.image_folder import Pictures
from workloads.errors import BadInput
from workloads.serve.errors import Invalid
from workloads.serve.web.pictures.model_input import to_input
from workloads.vision import decoding
from workloads.vision.decoding import Unreadable, in_8_bits
from workloads.vision.decoding import upright as turn
from workloads.vision.preprocessing import prepare

RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)


def how(channels: int = 3, size: int = 8, **more) -> Preprocessing:
    return Preprocessing(
        channels=channels, height=size, width=size, mean=[0.0] * channels, std=[1.0] * channels, **more
    )


def stored(image: Image.Image, form: str, **options) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, form, **options)))


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(depth: int, kind: int, row: bytes, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8 pixels a row, written by hand: Pillow does not write all that it reads."""
    head = (b"IHDR", struct.pack(">IIBBBBB", 8, height, depth, kind, 0, 0, 0))
    chunks = [head, *more, (b"IDAT", zlib.compress((b"\0" + row) * height)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("array", "form"), [(RAMP, "PNG"), (RAMP, "TIFF"), (RAMP.astype(np.int32), "PPM")])
def test_16_bit_grey_was_read_as_white(array, form: str, channels: int) -> None:
    pixels = prepare(stored(Image.fromarray(array), form), how(channels))
    np.testing.assert_allclose(pixels[0], RAMP / 257, atol=0.5)


def test_16_bit_grey_reaches_server_and_trainer_alike(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(RAMP), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    trained = Pictures((tmp_path / "a.png",), np.zeros(1, np.int64), how()).batch([0])[0]
    served, _ = to_input([content], how())
    np.testing.assert_allclose(served, trained / 255, atol=1e-6)
    assert trained.min() == 0
    assert trained.max() == 255


def test_16_bit_grey_and_16_bit_rgb_of_one_picture_are_alike() -> None:
    grey = prepare(stored(Image.fromarray(RAMP), "PNG"), how()).astype(int)
    row = np.repeat(RAMP[3].astype(">u2"), 3).tobytes()
    coloured = prepare(Image.open(io.BytesIO(png(16, 2, row, 8))), how()).astype(int)
    assert np.abs(grey[:, 3] - coloured[:, 0]).max() <= 1


def test_a_tiff_of_12_bits_in_16_is_read_to_its_own_white() -> None:
    image = stored(Image.fromarray((RAMP >> 4).astype(np.uint16)), "TIFF", tiffinfo={})
    image.tag_v2[258] = (12,)
    assert prepare(image, how()).max() == 255


def test_a_16_bit_tiff_whose_zero_is_white_is_no_negative() -> None:
    image = stored(Image.fromarray(RAMP), "TIFF")
    image.tag_v2[262] = 0
    assert prepare(image, how())[0, 0, 0] == 255


@pytest.mark.parametrize(("mode", "words"), [("I", "whole numbers"), ("F", "floating-point")])
def test_values_without_a_range_are_refused_in_words(mode: str, words: str, tmp_path: Path) -> None:
    content = encoded(Image.new(mode, (8, 8)), "TIFF")
    with pytest.raises(Unreadable, match=words):
        prepare(Image.open(io.BytesIO(content)), how())
    (tmp_path / "a.tiff").write_bytes(content)
    with pytest.raises(BadInput, match=rf"a.tiff.*{words}"):
        Pictures((tmp_path / "a.tiff",), np.zeros(1, np.int64), how()).batch([0])


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_cannot_be_seen_is_white(mode: str, channels: int) -> None:
    assert prepare(Image.new(mode, (8, 8)), how(channels)).min() == 255


@pytest.mark.parametrize("form", ["PNG", "GIF", "WEBP"])
def test_half_transparent_and_transparent_palettes_are_laid_on_white(form: str) -> None:
    if form == "WEBP":
        image = stored(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), form, lossless=True)
        expected = 127
    else:
        flat = Image.new("P", (8, 8), 3)
        flat.putpalette([10, 20, 30] * 256)
        image, expected = stored(flat, form, transparency=3), 255
    assert abs(int(prepare(image, how()).min()) - expected) <= 1


@pytest.mark.parametrize(("depth", "value"), [(1, 1), (2, 2), (4, 9), (8, 77), (16, 0x1234)])
def test_the_transparent_grey_of_a_png_is_found_at_every_depth(depth: int, value: int) -> None:
    row = np.full(8, value, ">u2").tobytes()
    if depth < 16:
        row = bytes([sum(value << (bit * depth) for bit in range(8 // depth))]) * depth
    clear = png(depth, 0, row, 8, (b"tRNS", struct.pack(">H", value)))
    opaque = png(depth, 0, row, 8, (b"tRNS", struct.pack(">H", value - 1)))
    assert prepare(Image.open(io.BytesIO(clear)), how()).min() == 255
    expected = round(value * 255 / ((1 << depth) - 1))
    assert prepare(Image.open(io.BytesIO(opaque)), how()).max() == expected


def test_the_transparent_colour_of_16_bit_rgb_is_found() -> None:
    row = b"\x12\x34" * 24
    content = png(16, 2, row, 8, (b"tRNS", struct.pack(">HHH", 0x1234, 0x1234, 0x1234)))
    assert prepare(Image.open(io.BytesIO(content)), how()).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B"])
def test_every_other_mode_is_converted(mode: str) -> None:
    assert prepare(Image.new(mode, (8, 8)), how()).shape == (3, 8, 8)
    assert prepare(Image.new(mode, (8, 8)), how(1)).shape == (1, 8, 8)


def test_cmyk_jpegs_are_not_inverted() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK")
    pixels = prepare(stored(red, "JPEG", quality=95), how())[:, 0, 0].astype(int)
    assert pixels[0] > 240
    assert max(pixels[1:]) < 15


def test_lab_is_converted_by_its_meaning() -> None:
    grey = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (255, 128, 128)])
    assert prepare(grey, how()).min() > 250


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"resize": 10}])
def test_a_turned_photo_is_upright_at_every_size(turned: int, options) -> None:
    upright = Image.new("RGB", (640, 480))
    upright.paste((255, 0, 0), (0, 0, 320, 240))
    upright.paste((0, 255, 0), (320, 240, 640, 480))
    inverse = {6: 8, 8: 6}.get(turned, turned)
    exif = Image.Exif()
    exif[0x0112] = turned
    photo = stored(turn(upright, inverse), "JPEG", quality=95, exif=exif)
    expected = prepare(upright, how(**options)).astype(int)
    assert np.abs(prepare(photo, how(**options)).astype(int) - expected).max() < 40


def test_broken_exif_does_not_cost_the_picture() -> None:
    content = encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x01\x02\x03")
    assert prepare(Image.open(io.BytesIO(content)), how()).shape == (3, 8, 8)


def test_the_first_frame_of_several_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        image = stored(frames[0], form, save_all=True, append_images=frames[1:])
        assert prepare(image, how())[0].min() > 200


@pytest.mark.parametrize(("form", "most"), [("JPEG", 3), ("PNG", 3)])
def test_shrinking_a_large_picture_in_two_steps_changes_next_to_nothing(form: str, most: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    image = noise.resize((2999, 2001), Image.Resampling.BICUBIC)
    content = encoded(image, form)
    whole = Image.open(io.BytesIO(content)).convert("RGB").resize((384, 256), Image.Resampling.BILINEAR)
    expected = np.asarray(whole.crop((80, 16, 304, 240))).transpose(2, 0, 1).astype(int)
    shrunk = prepare(Image.open(io.BytesIO(content)), how(size=224, resize=256)).astype(int)
    assert np.abs(shrunk - expected).max() <= most


def test_nearest_picks_pixels_and_mixes_none() -> None:
    image = Image.new("P", (64, 64))
    image.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
    image.putdata([(x % 2) * 255 for _ in range(64) for x in range(64)])
    pixels = prepare(image, how(interpolation="nearest"))
    assert set(np.unique(pixels[0])) <= {0, 255}


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (101, 77, 4), dtype=np.uint8))
    whole = in_8_bits(image, 3, 4)
    monkeypatch.setattr(decoding, "STRIP", 77 * 4)
    np.testing.assert_array_equal(np.asarray(in_8_bits(image, 3, 4)), np.asarray(whole))


def test_the_server_refuses_in_words_what_it_cannot_interpret() -> None:
    with pytest.raises(Invalid, match="picture 1 is none of"):
        to_input([encoded(Image.new("F", (8, 8)), "TIFF")], how())


def scaled_whole_and_cut(image: Image.Image, how: Preprocessing) -> np.ndarray:
    """As artifact.json describes it, step by step."""
    picture = ImageOps.exif_transpose(image).convert("RGB")
    assert how.resize is not None
    shorter = min(picture.size)
    scaled = [max(round(one * how.resize / shorter), how.width) for one in picture.size]
    picture = picture.resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR)
    left, top = (scaled[0] - how.width) // 2, (scaled[1] - how.height) // 2
    return np.asarray(picture.crop((left, top, left + how.width, top + how.height))).transpose(2, 0, 1)


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("size", [(37, 50), (50, 37), (40, 41), (64, 9), (9, 64), (100, 91)])
def test_scaling_the_centre_is_scaling_all_and_cutting_the_centre(turned: int, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(2).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turned
    content = encoded(image, "PNG", exif=exif)
    expected = scaled_whole_and_cut(Image.open(io.BytesIO(content)), how(size=24, resize=31)).astype(int)
    found = prepare(Image.open(io.BytesIO(content)), how(size=24, resize=31)).astype(int)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(40_000, 10), (10, 40_000), (1_000_000, 2), (1, 5000)])
def test_a_thread_of_a_picture_costs_no_more_than_another(size: tuple[int, int], interpolation: str) -> None:
    """40000 x 10 pixels became 1024000 x 256 on their way: 13 s and 800 MB."""
    content = encoded(Image.new("RGB", size, "red"), "PNG")

    def thread() -> None:
        pixels = prepare(Image.open(io.BytesIO(content)), how(size=224, resize=256, interpolation=interpolation))
        assert pixels[0].min() == 255

    assert_within(2, thread)


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize("size", [(40, 20), (20, 40), (33, 7), (4000, 3)])
def test_a_letterbox_holds_all_of_a_picture(size: tuple[int, int], turned: int) -> None:
    """It was cut like the others, at offsets below zero, once only the centre was scaled."""
    how = Preprocessing(channels=3, height=16, width=16, mean=[0.0] * 3, std=[1.0] * 3, letterbox=True, fill=7)
    picture = Image.new("RGB", size, (200, 200, 200))
    picture.getexif()[0x0112] = turned
    pixels = prepare(picture, how)
    assert pixels.shape == (3, 16, 16)
    assert set(np.unique(pixels)) == {7, 200}
    wide = size[0] > size[1]
    rows = (pixels[0] == 200).any(1)
    assert rows.all() == (wide == (turned == 6))
