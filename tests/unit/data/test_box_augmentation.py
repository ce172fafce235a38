"""Pictures are mirrored, scaled and shifted together with their boxes."""

import numpy as np
import pytest

from workloads.data import Augmentation, InMemory
from workloads.data.detection.box_augmentation import moved
from workloads.data.detection.boxes import NONE, padded
from workloads.data.sample_order import TrainingSamples, per_sample_random

SIDE = 48


def picture(box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """White on black: [1, 3, SIDE, SIDE], and its one box of class 2 as a row [1, 3, 5]."""
    left, top, right, bottom = box
    pixels = np.zeros((1, 3, SIDE, SIDE), np.uint8)
    pixels[:, :, top:bottom, left:right] = 255
    row = [2, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    return pixels, padded([np.array([row], np.float32)], 3)


def extent(pixels: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of what is white."""
    rows, columns = np.where(pixels[0] > 190)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("how", [Augmentation(flip=True), Augmentation(scale=0.4), Augmentation(flip=True, scale=0.4)])
def test_the_box_is_where_the_white_is(how: Augmentation) -> None:
    pixels, boxes = picture((14, 20, 30, 28))
    places = set()
    for bits in per_sample_random(3, 0, range(60)):
        changed, rows = moved(pixels, boxes, how, bits[None])
        (kind, x, y, width, height), *others = rows[0]
        assert kind == 2
        assert all(row[0] == NONE for row in others)
        found = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert np.abs(extent(changed[0]) - found).max() < 1.3
        places.add((round(float(x)), round(float(width))))
    assert len(places) > (1 if not how.scale else 15)


def test_what_leaves_the_picture_is_no_object_any_more_and_what_is_cut_ends_at_its_edge() -> None:
    pixels, boxes = picture((0, 0, 10, 10))
    gone = cut = 0
    for bits in per_sample_random(4, 0, range(300)):
        _, rows = moved(pixels, boxes, Augmentation(scale=0.9), bits[None])
        kind, x, y, width, height = rows[0, 0]
        gone += kind == NONE
        if kind != NONE:
            assert x - width / 2 >= 0
            assert y - height / 2 >= 0
            cut += abs(width - height) > 1
    assert gone > 20
    assert cut > 20


def test_each_picture_by_itself_and_each_epoch_anew() -> None:
    pixels = np.concatenate([picture((10, 10, 20, 20))[0]] * 6)
    boxes = np.concatenate([picture((10, 10, 20, 20))[1]] * 6)
    samples = TrainingSamples(InMemory(pixels, boxes), Augmentation(flip=True, scale=0.3), seed=1)
    whole, rows = samples.__getitems__(range(6))
    alone, row = samples.__getitems__([4])
    assert (whole[4] == alone[0]).all()
    assert (rows[4] == row[0]).all()
    assert len({tuple(one.flatten().tolist()) for one in rows}) > 3
    samples.epoch = 1
    assert (samples.__getitems__(range(6))[1] != rows).any()
    untouched = TrainingSamples(InMemory(pixels, boxes), Augmentation(), seed=1)
    assert (untouched.__getitems__(range(6))[0].numpy() == pixels).all()
