"""Non-maximum suppression against the definition, and boxes that come back to where they were in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slipway.api.common.artifact import Preprocessing
from tests.unit.runtime.effort import examples
from workloads.serve.web.pictures.detection import Geometry, detect, geometry
from workloads.vision.detection import MOST_OVERLAP, overlaps, suppress
from workloads.vision.preprocessing import prepare

BOX = st.tuples(*(st.integers(0, 20),) * 4).map(
    lambda e: [min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3])]
)


def by_definition(first, second) -> float:
    """Counting unit squares."""
    cells = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in (first, second)]
    union = cells[0] | cells[1]
    return len(cells[0] & cells[1]) / len(union) if union else 0.0


@settings(max_examples=examples(100), deadline=None)
@given(BOX, st.lists(BOX, min_size=1, max_size=5))
def test_overlap_is_intersection_over_union(box, others) -> None:
    (found,) = overlaps(np.array([box], float), np.array(others, float))
    np.testing.assert_allclose(found, [by_definition(box, other) for other in others], atol=1e-12)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(BOX, st.integers(0, 1)), max_size=12))
def test_suppression_keeps_the_best_of_each_heap(found) -> None:
    boxes = np.array([box for box, _ in found], float).reshape(-1, 4)
    classes = np.array([kind for _, kind in found])
    kept = suppress(boxes, classes).tolist()
    for place in range(len(found)):
        rivals = [
            one
            for one in kept
            if one < place
            and classes[one] == classes[place]
            and by_definition(found[one][0], found[place][0]) > MOST_OVERLAP
        ]
        assert (place in kept) == (not rivals)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 300), (50, 50)])
@pytest.mark.parametrize("resize", [None, 64, 100])
def test_a_box_comes_back_to_where_it_was(size, resize) -> None:
    """A white square in a black picture: found in what the model sees, and mapped back."""
    how = Preprocessing(channels=1, height=64, width=64, resize=resize, mean=[0.0], std=[1.0])
    width, height = size
    square = (width * 4 // 10, height * 4 // 10, width * 6 // 10, height * 6 // 10)
    image = Image.new("L", size, 0)
    image.paste(255, square)
    rows, columns = np.nonzero(prepare(image, how)[0] > 127)
    seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
    place = geometry(width, height, how)
    (answer,) = detect(seen[None], np.ones((1, 1, 1)), ["square"], [place])
    assert answer["objects"][0]["label"] == "square"
    tolerance = 2 * max(place.scale)
    np.testing.assert_allclose(answer["objects"][0]["box"], square, atol=tolerance)


def test_scores_boxes_and_limits() -> None:
    boxes = np.array([[[0, 0, 10, 10], [1, 1, 10, 10], [0, 0, 10, 10], [90, 90, 200, 200], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.9, 0.1], [0.8, 0.1], [0.1, 0.7], [0.5, 0.0], [0.2, 0.1]]], np.float32)
    (answer,) = detect(boxes, scores, ["cat"], [Geometry((1.0, 1.0), (0.0, 0.0), 100, 100)])
    assert [(one["label"], round(one["score"], 2), one["box"]) for one in answer["objects"]] == [
        ("cat", 0.9, [0, 0, 10, 10]),
        ("1", 0.7, [0, 0, 10, 10]),
        ("cat", 0.5, [90, 90, 100, 100]),
    ]


def test_nothing_found_is_an_empty_list() -> None:
    (answer,) = detect(np.zeros((1, 3, 4)), np.zeros((1, 3, 2)), [], [Geometry((1.0, 1.0), (0.0, 0.0), 10, 10)])
    assert answer == {"objects": []}
