"""Data sets with boxes: shapes are where their boxes say, held-out ones apart; a YOLO folder is read, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from slipway.api.common.sources import DatasetChoice, ModelChoice
from workloads import data, models
from workloads.data.detection import shapes
from workloads.data.detection.boxes import BoxSet
from workloads.errors import BadInput


def test_shapes_are_the_same_for_everybody_and_lie_in_their_boxes() -> None:
    one, other = shapes.load(None), shapes.load(None)
    pixels, rows = one.training.batch([5, 3])
    again, same = other.training.batch([3, 5])
    assert np.array_equal(pixels[0], again[1])
    assert np.array_equal(rows, same[::-1])
    assert pixels.shape == (2, 3, shapes.SIZE, shapes.SIZE)
    _, many = one.training.batch(range(200))
    real = many[many[..., 0] >= 0]
    assert set(real[:, 0]) == {0.0, 1.0, 2.0}
    edges = np.concatenate([real[:, 1:3] - real[:, 3:] / 2, real[:, 1:3] + real[:, 3:] / 2], axis=1)
    assert edges.min() >= 0
    assert edges.max() <= shapes.SIZE


def test_a_box_is_of_one_colour_to_its_edges_and_no_further() -> None:
    """Of the class `box`, whose shape fills it: the four corners inside are of its colour, those outside are not."""
    pixels, rows = shapes.load(None).training.batch(range(60))
    inside, outside = [], []
    for picture, boxes in zip(pixels.astype(int), rows, strict=True):
        for _, x, y, width, height in boxes[boxes[:, 0] == 1]:
            left, top, right, bottom = (
                round(v) for v in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            )
            corners = [(row, column) for row in (top, bottom - 1) for column in (left, right - 1)]
            colour = picture[:, round(y), round(x)]
            inside += [np.abs(picture[:, row, column] - colour).max() for row, column in corners]
            if left > 0 and right < shapes.SIZE:
                outside += [np.abs(picture[:, round(y), column] - colour).max() for column in (left - 1, right)]
    assert max(inside) == 0
    assert np.mean([difference > 8 for difference in outside]) > 0.95


def test_held_out_pictures_are_of_another_part_of_the_photographs() -> None:
    """No column of pixels of the one part is in the other."""
    loaded = shapes.load(None)
    for training, held_out in zip(loaded.training.photographs, loaded.held_out.photographs, strict=True):
        columns = {column.tobytes() for column in training.swapaxes(0, 1)}
        assert not columns & {column.tobytes() for column in held_out.swapaxes(0, 1)}


def yolo_folder(root: Path, parts: tuple[str, ...] = ("train", "val")) -> Path:
    """White squares on black, 100 x 50 pixels; the second picture of each part shows nothing and has no text."""
    for part in parts:
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True)
        for number in range(2):
            picture = Image.new("RGB", (100, 50))
            if number == 0:
                ImageDraw.Draw(picture).rectangle((20, 10, 39, 29), fill="white")
                (root / "labels" / part / "0.txt").write_text("1 0.3 0.4 0.2 0.4\n")
            picture.save(root / "images" / part / f"{number}.png")
    (root / "data.yaml").write_text("names: {0: circle, 1: square}\n")
    return root


def load(root: Path) -> BoxSet:
    found = data.load(DatasetChoice.model_validate({"name": "yolo-folder", "uri": root.as_uri()}))
    assert isinstance(found, BoxSet)
    return found


def test_a_yolo_folder(tmp_path: Path) -> None:
    loaded = load(yolo_folder(tmp_path))
    assert loaded.labels == ("circle", "square")
    assert (len(loaded.training), len(loaded.held_out)) == (2, 2)
    pixels, rows = loaded.training.batch([0, 1])
    size = loaded.preprocessing.width
    assert rows[0, 0] == pytest.approx([1, 0.3 * size, 0.4 * size, 0.2 * size, 0.4 * size])
    assert rows[1, 0, 0] == -1
    white = np.argwhere(pixels[0, 0] > 127)
    # The picture is scaled in both directions, and the box with it.
    assert white.min(axis=0) == pytest.approx([0.2 * size, 0.2 * size], abs=2)
    assert white.max(axis=0) == pytest.approx([0.6 * size, 0.4 * size], abs=3)


def test_a_yolo_folder_without_parts_holds_some_out(tmp_path: Path) -> None:
    yolo_folder(tmp_path, ("",))
    for number in range(2, 10):
        Image.new("RGB", (20, 20)).save(tmp_path / f"images/{number}.png")
        (tmp_path / f"labels/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    loaded = load(tmp_path)
    assert (len(loaded.training), len(loaded.held_out)) == (8, 2)


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("labels/train/0.txt", "2 0.5 0.5 0.1 0.1\n", "0.txt:1: expected a class below 2"),
        ("labels/train/0.txt", "\n1 0.5 0.5 0.1 1.5\n", "0.txt:2: expected a class below 2"),
        ("labels/train/0.txt", "square 0.5 0.5 0.1 0.1\n", "not numbers"),
        ("labels/train/0.txt", "", "no training picture has a box"),
        ("data.yaml", "nc: 2\n", "no `names` of classes"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(tmp_path: Path, path: str, content: str, words: str) -> None:
    (yolo_folder(tmp_path) / path).write_text(content)
    with pytest.raises(BadInput, match=words):
        load(tmp_path)


def test_detectors_and_boxes_belong_together() -> None:
    boxes, plain = models.Boxes(3, 64, 64, 3), models.Images(3, 64, 64, 3)
    with pytest.raises(BadInput, match="holds pictures with boxes"):
        models.fit(ModelChoice.model_validate({"name": "resnet18"}), boxes)
    with pytest.raises(BadInput, match="holds no boxes"):
        models.fit(ModelChoice.model_validate({"name": "yolo"}), plain)
    assert models.fit(ModelChoice.model_validate({"name": "yolo", "width": 24}), boxes)[1]["features"] == 24
