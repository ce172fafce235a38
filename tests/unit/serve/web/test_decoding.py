"""Pictures on threads: what a stranger's file may cost, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipway.api.common.artifact import Preprocessing
from tests.unit.hostile.cost import assert_within
from workloads.serve.errors import DeadlineExceeded, Invalid, QueueFull
from workloads.serve.web.pictures import decoding as module
from workloads.serve.web.pictures import picture_file
from workloads.serve.web.pictures.decoding import Decoding
from workloads.serve.web.pictures.model_input import MOST_BYTES, most_pixels, to_input

HOW = Preprocessing(channels=3, height=224, width=224, resize=256, mean=[0.0] * 3, std=[1.0] * 3)
ROOT = Path(__file__).resolve().parents[4]


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def flat_png(width: int, height: int, depth: int = 8, kind: int = 2) -> bytes:
    """Nothing but zeros: a thousandth of what it stands for."""
    row = b"\0" * (1 + width * {0: 1, 2: 3, 6: 4}[kind] * depth // 8)
    squeeze, data = zlib.compressobj(9), []
    for _ in range(height):
        data.append(squeeze.compress(row))
    data.append(squeeze.flush())
    return chunks((b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), (b"IDAT", b"".join(data)))


def chunks(*given: tuple[bytes, bytes]) -> bytes:
    return picture_file.PNG + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*given, (b"IEND", b""))
    )


SMALL = encoded(Image.new("RGB", (300, 300), "red"), "PNG")
JPEG = encoded(Image.new("RGB", (64, 64), "red"), "JPEG")
GIF = encoded(Image.new("P", (8, 8)), "GIF")
GIF_HEAD = 13 + (3 << (GIF[10] & 7) + 1)
START = JPEG.index(b"\xff\xc0")
HUGE = {
    "png": flat_png(8000, 8000),
    "webp, a header alone": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xfe\x3f\0" * 2 + b"VP8 " + b"\0" * 12,
    "gif": b"GIF89a"
    + struct.pack("<HHBBB", 65000, 65000, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 8, 8, 0)
    + b"\2\0;",
    "bmp": b"BM" + b"\0" * 8 + struct.pack("<IIiiHHIIiiII", 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0),
    "jpeg": JPEG[: JPEG.index(b"\xff\xc0") + 5]
    + struct.pack(">HH", 60000, 60000)
    + JPEG[JPEG.index(b"\xff\xc0") + 9 :],
}


@pytest.mark.parametrize("name", HUGE)
def test_a_picture_of_more_pixels_than_the_model_is_worth_is_refused_before_it_is_decoded(name: str) -> None:
    def refused() -> None:
        with pytest.raises(Invalid, match=r"picture 1 has .* pixels.*make it smaller"):
            to_input([HUGE[name]], HOW)

    assert_within(0.5, refused)


@pytest.mark.parametrize("name", ["png", "webp, a header alone"])
async def test_a_picture_whose_first_bytes_say_that_it_is_too_large_takes_no_thread(name, monkeypatch) -> None:
    """Eight clients with such files held the threads, and the loop for 9 ms before another one's answer."""
    decoding = Decoding(HOW)
    monkeypatch.setattr(decoding, "_all", None)
    with pytest.raises(Invalid, match=r"picture 2 has .* pixels.*make it smaller"):
        await decoding.to_input([SMALL, HUGE[name]], ("a", 0), 30)
    await decoding.close()


WALKS = {
    "a million chunks": chunks(*[(b"abCd", b"")] * 100_000, (b"IHDR", b"")),
    "data byte by byte": chunks((b"IHDR", b"\0" * 13), *[(b"IDAT", b"\0")] * 200_000),
    "a million segments": b"\xff\xd8" + b"\xff\xe5\0\2" * 1_000_000 + JPEG[2:],
    "megabytes of junk": b"\xff\xd8\xff\xe5\0\2" + b"\1" * (4 << 20) + JPEG[2:],
    "megabytes of fill bytes": b"\xff\xd8" + b"\xff" * (4 << 20) + JPEG[2:],
    "hundreds of metadata segments": b"\xff\xd8" + (b"\xff\xe1\xff\xffExif\0\0" + b"\0" * 65527) * 300 + JPEG[2:],
    "thousands of scans": JPEG[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 2000 + JPEG[-2:],
    "a gif of comments": GIF[:GIF_HEAD] + b"!\xfe" + b"\1x" * 1_000_000 + b"\0" + GIF[GIF_HEAD:],
    "a gif of empty extensions": GIF[:GIF_HEAD] + b"!\xfe\0" * 1_000_000 + GIF[GIF_HEAD:],
    "a bmp of run lengths": b"BM"
    + b"\0" * 8
    + struct.pack("<IIiiHHIIiiII", 54, 40, 3000, 3000, 1, 8, 1, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", WALKS)
def test_a_file_that_costs_more_to_walk_over_than_to_decode_is_refused_at_once(name: str) -> None:
    def refused() -> None:
        with pytest.raises(Invalid, match="picture 1"):
            to_input([WALKS[name]], HOW)

    assert_within(0.5, refused)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"made by hand"}])
def test_what_programs_write_is_read(form: str, options) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    array, _ = to_input([encoded(image, form, **options)], HOW)
    assert array.shape == (1, 3, 224, 224)


def test_a_photo_of_24_million_pixels_is_read() -> None:
    array, (way,) = to_input([encoded(Image.new("RGB", (6000, 4000), "red"), "JPEG")], HOW)
    assert array[0, 0].min() > 0.9
    assert (way.width, way.height) == (6000, 4000)


@pytest.mark.parametrize(
    "content", [WALKS["megabytes of junk"][:6] + b"\1\2\3" + JPEG[2:], b"\xff\xd8\xff\xff\xff\xff" + JPEG[3:]]
)
def test_a_little_junk_between_segments_is_nothing(content: bytes) -> None:
    assert to_input([content], HOW)[0].shape == (1, 3, 224, 224)


MEASURE = """
import pathlib, sys
from slipway.api.common.artifact import Preprocessing
from workloads.serve.web.pictures.model_input import to_input
how = Preprocessing(channels=3, height=224, width=224, resize=256, mean=[0.0] * 3, std=[1.0] * 3)
def kilobytes(word):
    return int(pathlib.Path("/proc/self/status").read_text().split(word)[1].split()[0])
content = pathlib.Path(sys.argv[1]).read_bytes()
before = kilobytes("VmRSS:")
to_input([content], how)
print((kilobytes("VmHWM:") - before) << 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["rgba", "webp"])
def test_the_largest_picture_takes_no_more_memory_than_it_may(name: str, tmp_path: Path) -> None:
    """A PNG of 187 KB took 843 MB."""
    side = int(min(most_pixels(HOW), MOST_BYTES / 17 if name == "webp" else MOST_BYTES / 5) ** 0.5)
    flat = Image.new("RGB", (side, side)) if name == "webp" else None
    content = encoded(flat, "WEBP", quality=1, method=0) if flat is not None else flat_png(side, side, kind=6)
    (tmp_path / "picture").write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "picture")],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 4 * side * side < int(run.stdout) < MOST_BYTES * 1.2


def test_how_many_pixels_are_of_use_depends_on_the_model() -> None:
    assert most_pixels(HOW) == 16_777_216
    assert most_pixels(HOW.model_copy(update={"height": 640, "width": 640, "resize": None})) == 40_000_000
    assert most_pixels(HOW.model_copy(update={"height": 28, "width": 28, "resize": None})) == 16_000_000


async def test_a_small_picture_does_not_wait_for_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """31 KB PNGs of 8000 x 8000 held another client for 20 s."""
    hold = asyncio.Event()
    real = module.ProcessLane.exchange

    async def slow(lane, job):
        await hold.wait()
        return await real(lane, job)

    monkeypatch.setattr(module.ProcessLane, "exchange", slow)
    large = flat_png(1600, 1600)
    decoding = Decoding(HOW)
    monkeypatch.setattr(module, "MEDIUM", 1_000_000)
    hostile = [asyncio.create_task(decoding.to_input([large], ("h", n), 300)) for n in range(module.MOST_LARGE)]
    await asyncio.sleep(0)
    array, _ = await decoding.to_input([SMALL], ("p", 0), 300)
    assert array.shape == (1, 3, 224, 224)
    assert not any(task.done() for task in hostile)
    with pytest.raises(QueueFull, match="large pictures"):
        await decoding.to_input([large], ("h", 99), 300)
    hold.set()
    assert len(await asyncio.gather(*hostile)) == module.MOST_LARGE
    await decoding.close()


async def test_decoding_counts_against_the_requests_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr(module, "if_small", lambda *_: hold.wait(30))
    decoding = Decoding(HOW)
    try:
        with pytest.raises(DeadlineExceeded, match=r"0.05 s were over"):
            await decoding.to_input([SMALL], ("a", 0), 0.05)
    finally:
        hold.set()


async def test_whoever_is_gone_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    hold, begun, seen = threading.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def look(content, how, place):
        seen.append(content)
        loop.call_soon_threadsafe(begun.set)
        hold.wait(30)
        return np.zeros((3, 224, 224), np.uint8), None

    monkeypatch.setattr(module, "if_small", look)
    monkeypatch.setattr(module, "cpu_limit", lambda: 1.0)
    decoding = Decoding(HOW)
    first = asyncio.create_task(decoding.to_input([b"first"], ("a", 0), 300))
    gone = asyncio.create_task(decoding.to_input([b"gone", b"gone"], ("b", 0), 300))
    await begun.wait()
    gone.cancel()
    hold.set()
    await first
    await decoding.to_input([b"last"], ("c", 0), 300)
    assert seen == [b"first", b"last"]


async def test_one_bad_picture_of_several_is_named_and_the_others_are_left() -> None:
    decoding = Decoding(HOW)
    with pytest.raises(Invalid, match="picture 2 is none of"):
        await decoding.to_input([SMALL, b"no picture", SMALL], ("a", 0), 300)
    assert (await decoding.to_input([SMALL], ("a", 0), 300))[0].shape == (1, 3, 224, 224)


async def test_refused_pictures_leave_nothing_behind() -> None:
    """An exception holds the frames that hold it, and with them the picture: memory grew until the collector came."""
    decoding, content = Decoding(HOW), b"no picture" * 1000
    before = sys.getrefcount(content)
    gc.disable()
    try:
        with pytest.raises(Invalid):
            await decoding.to_input([content, SMALL], ("a", 0), 300)
        with pytest.raises(Invalid):
            await decoding.to_input([SMALL, content], ("a", 0), 300)
        # A thread lets go of its work a moment after it has told the result.
        async with asyncio.timeout(30):
            while sys.getrefcount(content) != before:  # noqa: ASYNC110 (nobody tells when)
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
