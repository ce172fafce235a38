"""Inputs by a model's own signature: pictures, lines of text, voices, tokens, numbers, all of them from a seed.

Each function takes the shape of one sample and gives `draw(numbers, count)` -> array [count, *shape].
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.models.lite0 import CALIBRATION, EVALUATION, pictures

Numbers = np.random.Generator
Draw = Callable[[Numbers, int], Any]
RATE = 16000  # of voices, samples a second


@lru_cache(maxsize=1)
def _photographs() -> list[Image.Image]:
    return pictures([*CALIBRATION, *EVALUATION])


def _crop(numbers: Numbers, width: int, height: int) -> Image.Image:
    found = _photographs()[numbers.integers(len(_photographs()))]
    share = numbers.uniform(0.35, 1.0)
    size = int(found.width * share), int(found.height * share)
    left, top = int(numbers.integers(found.width - size[0] + 1)), int(numbers.integers(found.height - size[1] + 1))
    return found.crop((left, top, left + size[0], top + size[1])).resize((width, height))


def _write(picture: Image.Image, numbers: Numbers, where: tuple[int, int], size: float) -> None:
    letters = [*string.ascii_letters, *string.digits, " ", " "]
    words = "".join(numbers.choice(letters, size=int(numbers.integers(4, 12))))
    ImageDraw.Draw(picture).text(where, words, fill=int(numbers.integers(90)), font=ImageFont.load_default(size))


def _array(picture: Image.Image, shape: tuple[int, ...], mean: float, spread: float) -> Any:
    channels = shape[-3]
    values = np.asarray(picture.convert("RGB" if channels == 3 else "L"), np.float32)
    values = values.transpose(2, 0, 1) if channels == 3 else values[None]
    return ((values - mean) / spread).reshape(shape)


def _pictures(shape: tuple[int, ...], mean: float, spread: float, make: Callable[[Numbers, int, int], Any]) -> Draw:
    def draw(numbers: Numbers, count: int) -> Any:
        rows = [_array(make(numbers, shape[-1], shape[-2]), shape, mean, spread) for _ in range(count)]
        return np.stack(rows).astype(np.float32)

    return draw


def photographs(*shape: int, mean: float = 127.5, spread: float = 127.5) -> Draw:
    """Crops of the photographs of scikit-image and scikit-learn; [..., channels, height, width]."""
    return _pictures(shape, mean, spread, _crop)


def lines(*shape: int, mean: float = 127.5, spread: float = 127.5) -> Draw:
    """One line of letters and digits, dark on a light photograph."""

    def make(numbers: Numbers, width: int, height: int) -> Image.Image:
        picture = Image.blend(_crop(numbers, width, height), Image.new("RGB", (width, height), "white"), 0.7)
        _write(picture, numbers, (int(numbers.integers(2, 12)), int(height * 0.15)), height * 0.6)
        return picture.rotate(180) if numbers.random() < 0.3 else picture

    return _pictures(shape, mean, spread, make)


def pages(*shape: int, mean: float = 127.5, spread: float = 127.5) -> Draw:
    """A white page with lines of text of several sizes and photographs, turned by any quarter."""

    def make(numbers: Numbers, width: int, height: int) -> Image.Image:
        picture, top = Image.new("RGB", (width, height), "white"), int(numbers.integers(height // 8 + 1))
        while top < height * 0.9:
            size = float(numbers.choice([0.03, 0.04, 0.06])) * height
            if numbers.random() < 0.15:
                picture.paste(_crop(numbers, width // 2, height // 5), (int(numbers.integers(width // 2)), top))
                top += height // 5
            for column in range(0, width, width // 3):
                _write(picture, numbers, (column + 4, top), max(7.0, size))
            top += int(size * 1.6)
        turned = picture.rotate(90 * int(numbers.integers(4)), expand=True)
        return turned.resize((width, height))

    return _pictures(shape, mean, spread, make)


def voices(*shape: int, loudness: float = 1.0) -> Draw:
    """Sound: a gliding pitch with overtones that comes and goes, over noise; the last axis is time at 16 kHz."""

    def draw(numbers: Numbers, count: int) -> Any:
        rows, length = [], int(np.prod(shape))
        time = np.arange(length) / RATE
        for _ in range(count):
            pitch = numbers.uniform(90, 260) * (1 + 0.2 * np.sin(2 * np.pi * numbers.uniform(0.5, 3) * time))
            phase = 2 * np.pi * np.cumsum(pitch) / RATE + numbers.uniform(0, 6)
            heights = numbers.uniform(0.1, 1.0, 12) / np.arange(1, 13)
            tone = sum(height * np.sin((k + 1) * phase) for k, height in enumerate(heights))
            swell = np.clip(np.sin(2 * np.pi * numbers.uniform(1, 5) * time + numbers.uniform(0, 6)) + 0.4, 0, 1)
            sound = numbers.choice([0.0, 0.3, 1.0]) * tone * swell + numbers.normal(0, 0.01, length)
            rows.append(loudness * np.clip(sound / 3, -1, 1).reshape(shape))
        return np.stack(rows).astype(np.float32)

    return draw


def tokens(most: int, *shape: int, least: int = 1, kind: Any = np.int64) -> Draw:
    """Numbers from `least` to `most` - 1, small ones often, as in a text."""

    def draw(numbers: Numbers, count: int) -> Any:
        drawn = (most - least) ** numbers.uniform(0, 1, (count, *shape)) - 1
        return (least + np.clip(drawn.astype(np.int64), 0, most - least - 1)).astype(kind)

    return draw


def normal(*shape: int, scale: float = 1.0, positive: bool = False, kind: Any = np.float32) -> Draw:
    """Numbers around zero, each sample with a level of its own."""

    def draw(numbers: Numbers, count: int) -> Any:
        level = numbers.uniform(0.3, 1.5, (count, *[1] * len(shape)))
        values = scale * level * numbers.normal(size=(count, *shape))
        return (np.abs(values) if positive else values).astype(kind)

    return draw


def constant(value: Any, *shape: int, kind: Any = np.float32) -> Draw:
    """The same for all."""
    return lambda numbers, count: np.full((count, *shape), value, kind)


def edges(nodes: int, count_of: int) -> Draw:
    """Pairs of nodes of a graph, [2, edges]."""
    return lambda numbers, count: numbers.integers(nodes, size=(count, 2, count_of))
