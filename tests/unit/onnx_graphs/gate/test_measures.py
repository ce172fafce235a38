"""Measures of one's own, of sequences, and of boxes that come as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.unit.onnx_graphs.graphs import SAMPLES, built, classifier, model, quantize, random, value
from workloads.errors import BadInput
from workloads.onnx import session
from workloads.quantize.evaluation import sequences

WORDS = st.lists(st.integers(0, 3), max_size=12)
X = {"x": random(SAMPLES, 16)}


def edits(first: list[int], second: list[int]) -> int:
    """By the definition."""
    if not first or not second:
        return len(first) + len(second)
    if first[0] == second[0]:
        return edits(first[1:], second[1:])
    return 1 + min(edits(first[1:], second), edits(first, second[1:]), edits(first[1:], second[1:]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), max_size=6))
def test_edit_distance_is_that_of_its_definition(first: list[int], second: list[int]) -> None:
    assert sequences.distance(np.array(first, int), np.array(second, int)) == edits(first, second)


@given(WORDS, WORDS)
def test_edit_distance_is_a_distance(first: list[int], second: list[int]) -> None:
    one, other = np.array(first, int), np.array(second, int)
    found = sequences.distance(one, other)
    assert found == sequences.distance(other, one)
    assert abs(len(first) - len(second)) <= found <= max(len(first), len(second))
    assert (found == 0) == (first == second)


@pytest.mark.parametrize(("blank", "wanted"), [(0, [1, 1, 2]), (-1, [0, 1, 0, 1])])
def test_steps_are_read_without_repeats_and_blanks(blank: int, wanted: list[int]) -> None:
    best = np.array([0, 1, 1, 0, 1, 2])
    (found,) = sequences.read(np.eye(3, dtype=np.float32)[best][None], blank)
    assert found.tolist() == wanted


def test_a_recogniser_is_judged_by_edits_against_texts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Reshape", ["h", "shape"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    graph = model(nodes, [value("x", ["n", 16])], [value("y", ["n", 10, 5])], {"w1": random(16, 50, seed=1)})
    graph.graph.initializer.append(numpy_helper.from_array(np.array([-1, 10, 5], np.int64), "shape"))
    truth = sequences.padded(session.session(graph).run(None, X)[0], 0)
    where = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "labels", "task": "sequence"}
    found = quantize(tmp_path, graph, {**X, "labels": truth}, ["weight-only-int8"], evaluation=where)
    rows = {row.name: row.accuracy for row in found.comparison}
    assert rows["float"] == pytest.approx(1.0)
    assert rows["weight-only-int8"] is not None
    assert rows["weight-only-int8"] > 0.9


def own(folder: Path, function: str) -> Any:
    where = {"uri": (folder / "data.npz").as_uri(), "metric": "agreement", "task": "custom"}
    evaluation = {**where, "function": f"tests.unit.onnx_graphs.gate.own_measure:{function}"}
    return quantize(folder, classifier(), X, ["weight-only-int8"], evaluation=evaluation)


def test_a_measure_of_ones_own_judges(tmp_path: Path) -> None:
    found = own(tmp_path, "score")
    assert len(built(found)) == 1
    assert found.comparison[0].accuracy == 1.0


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("failing", "fails: NameError"),
        ("too_large", "from 0 to 1 for each of"),
        ("one_for_all", "from 0 to 1 for each of"),
        ("absent", "not found on this image's Python path"),
    ],
)
def test_a_measure_that_is_none_is_refused_in_words(tmp_path: Path, function: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        own(tmp_path, function)


def detector() -> Any:
    """x [n, 16] -> [n, 6, 5 + 2] in YOLOv5's layout: boxes anywhere, scores by a sigmoid."""
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w1"], ["h"], "first"),
        make("Reshape", ["h", "shape"], ["r"], "rows"),
        make("Sigmoid", ["r"], ["s"], "scores"),
        make("Mul", ["s", "pixels"], ["y"], "boxes"),
    ]
    weights = {
        "w1": random(16, 42, seed=1),
        "shape": np.array([-1, 6, 7], np.int64),
        "pixels": np.array([100, 100, 40, 40, 1, 1, 1], np.float32),
    }
    return model(nodes, [value("x", ["n", 16])], [value("y", ["n", 6, 7])], weights)


def objects(graph: Any) -> Any:
    """What the model itself is surest of in each picture, and room for one more."""
    found = session.session(graph).run(None, X)[0]
    rows = np.full((SAMPLES, 2, 5), -1, np.float32)
    for row, boxes in zip(rows, found, strict=True):
        scores = boxes[:, 4:5] * boxes[:, 5:]
        best = scores.max(1).argmax()
        row[0] = [scores[best].argmax(), *boxes[best, :4]]
    return rows


def test_boxes_in_arrays_judge_a_detector(tmp_path: Path) -> None:
    graph = detector()
    where = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "average-precision-50"}
    feeds = {**X, "labels": objects(graph)}
    found = quantize(tmp_path, graph, feeds, ["weight-only-int8", "static-per-channel"], evaluation=where)
    rows = {row.name: row.accuracy or 0.0 for row in found.comparison}
    assert rows["float"] > 0.5
    # Its scores are random numbers near each other: eight bits change which of them is the largest.
    assert 0.5 * rows["float"] < rows["weight-only-int8"] <= rows["float"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(SAMPLES, np.int64), "boxes are"),
        (np.full((SAMPLES, 2, 5), 7, np.float32), "labels hold a class 7"),
        (None, "no array 'labels'"),
    ],
)
def test_labels_that_are_no_boxes_are_refused_in_words(tmp_path: Path, labels: Any, words: str) -> None:
    where = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "average-precision-50"}
    feeds = X if labels is None else {**X, "labels": labels}
    with pytest.raises(BadInput, match=words):
        quantize(tmp_path, detector(), feeds, ["weight-only-int8"], evaluation=where)
