"""What the warm-up finds is a warning: what its runtime runs is served. Faults of exporters, as small models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from slipway.api.serving.warmup import WarmUpMode
from tests.unit.serve import onnx_models
from tests.unit.serve.loaded_models import loaded, node, saved
from workloads.errors import BadInput
from workloads.serve.engines import warmup


def pools(path: Path) -> str:
    """Height and width are free, and five times halved."""
    nodes, value = [], "x"
    for number in range(5):
        nodes.append(node("MaxPool", [value], [f"p{number}"], kernel_shape=[2, 2], strides=[2, 2]))
        value = f"p{number}"
    nodes += [node("Conv", [value, "w"], ["c"]), node("GlobalAveragePool", ["c"], ["y"])]
    weight = {"w": np.ones((2, 3, 3, 3), np.float32)}
    return saved(path, nodes, [("x", T.FLOAT, ["n", 3, "h", "w"])], [("y", T.FLOAT, ["n", 2, 1, 1])], weight)


def test_a_network_for_pictures_of_any_size_gets_one_that_survives_its_poolings(tmp_path: Path) -> None:
    seen = loaded(pools(tmp_path / "m.onnx")).warm_up
    assert not seen.warnings
    assert seen.independent
    assert sorted(seen.seconds) == [1, 2, 4]


def test_shapes_that_somebody_gives_are_taken(tmp_path: Path) -> None:
    seen = loaded(pools(tmp_path / "m.onnx"), shapes={"x": (1, 3, 96, 128)}).warm_up
    assert seen.probe is not None
    assert seen.probe[0].shape == (1, 3, 96, 128)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"z": (1,)}, "has no input 'z', it takes 'x'"),
        ({"x": (1, 4, 8, 8)}, r"\[1, 4, 8, 8\], the model takes"),
        ({"x": (1, 3)}, "the model takes"),
    ],
)
def test_shapes_that_are_not_the_models_are_refused_in_words(shapes: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words):
        loaded(pools(tmp_path / "m.onnx"), shapes=shapes)


def one_hot_of_texts(path: Path) -> str:
    """What scikit-learn makes of OneHotEncoder(handle_unknown="error"): no invented text is a category."""
    nodes = [
        node("OneHotEncoder", ["x"], ["h"], domain="ai.onnx.ml", cats_strings=["red", "green"], zeros=0),
        node("Reshape", ["h", "to"], ["y"]),
    ]
    constants = {"to": np.array([0, -1], np.int64)}
    return saved(path, nodes, [("x", T.STRING, ["n", 1])], [("y", T.FLOAT, ["n", 2])], constants)


def test_a_model_that_no_invented_text_fits_is_served_with_a_warning(tmp_path: Path) -> None:
    found = loaded(one_hot_of_texts(tmp_path / "m.onnx"))
    assert any("any input that was tried" in words for words in found.warm_up.warnings)
    assert found.engines[0].run([np.array([[b"red"], [b"green"]], object)])[0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("form", ["npz", "json"])
def test_rows_that_somebody_gives_prove_that_it_works(form: str, tmp_path: Path) -> None:
    rows = tmp_path / f"rows.{form}"
    if form == "npz":
        np.savez(rows, x=np.array([["red"], ["green"]]))
    else:
        given = {"name": "x", "datatype": "BYTES", "shape": [2, 1], "data": ["red", "green"]}
        rows.write_text(json.dumps({"inputs": [given]}))
    seen = loaded(one_hot_of_texts(tmp_path / "m.onnx"), uri=str(rows)).warm_up
    assert not seen.warnings
    assert seen.independent


def test_an_engine_that_cannot_run_the_rows_that_are_given_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.array([["blue"]]))
    with pytest.raises(BadInput, match="could not run the input that was given"):
        loaded(one_hot_of_texts(tmp_path / "m.onnx"), uri=str(tmp_path / "rows.npz"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((1, 4), np.float32)}, "there is no input 'x' in it"),
        ({"x": np.zeros((1, 4))}, "'x' is float64, the model takes FP32"),
        ({"x": np.zeros((1, 5), np.float32)}, r"has the shape: \[1, 5\], the model takes"),
    ],
)
def test_a_file_of_other_rows_is_refused_in_words(arrays: Any, words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)
    path = str(onnx_models.mlp(tmp_path / "m.onnx", (4, 8, 3)))
    with pytest.raises(BadInput, match=words):
        loaded(path, uri=str(tmp_path / "rows.npz"))
    (tmp_path / "rows.npz").write_bytes(b"no archive")
    with pytest.raises(BadInput, match=r"neither a .json request nor an .npz"):
        loaded(path, uri=str(tmp_path / "rows.npz"))


def test_a_label_that_is_declared_of_length_one_is_batched_as_what_it_is(tmp_path: Path) -> None:
    """LightGBM's converter declares `label` [1]."""
    nodes = [node("ArgMax", ["x"], ["label"], axis=1, keepdims=0), node("Softmax", ["x"], ["p"])]
    outputs = [("label", T.INT64, [1]), ("p", T.FLOAT, ["n", 4])]
    found = loaded(saved(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, ["n", 4])], outputs))
    assert found.warm_up.independent
    assert found.model.signature.outputs[0].shape == [-1]
    assert any("'label' is declared [1] and had [4]" in words for words in found.warm_up.warnings)


def test_an_output_without_a_shape_is_served_and_batched(tmp_path: Path) -> None:
    found = loaded(
        saved(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], [("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, None)])
    )
    assert found.warm_up.independent
    assert found.model.signature.outputs[0].shape == [-1, 4]


def test_nan_at_warm_up_does_not_keep_a_model_from_serving(tmp_path: Path) -> None:
    found = loaded(str(onnx_models.never_finite(tmp_path / "m.onnx")))
    assert any("NaN" in words for words in found.warm_up.warnings)


def test_no_warm_up_runs_nothing(tmp_path: Path) -> None:
    seen = loaded(str(onnx_models.never_finite(tmp_path / "m.onnx")), WarmUpMode.NONE).warm_up
    assert (seen.seconds, seen.probe, seen.warnings) == ({}, None, ())


def test_only_shapes_are_run_without_a_look_at_values(tmp_path: Path) -> None:
    seen = loaded(str(onnx_models.never_finite(tmp_path / "m.onnx")), WarmUpMode.SHAPES_ONLY).warm_up
    assert not seen.warnings
    assert sorted(seen.seconds) == [1, 2, 4]


def test_a_sound_whose_first_axis_is_its_length_is_served(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["x", "axes"], ["u"]), node("Conv", ["u", "w"], ["y"])]
    constants = {"axes": np.array([0, 1], np.int64), "w": np.ones((1, 1, 400), np.float32)}
    found = loaded(saved(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, ["samples"])], [("y", T.FLOAT, None)], constants))
    assert not found.model.signature.batched
    assert not any("tried" in words for words in found.warm_up.warnings)


def test_invented_inputs_do_not_take_all_the_memory(tmp_path: Path) -> None:
    """Five free axes of 640, because nothing shorter ran."""
    axes = ["n", "a", "b", "c", "d"]
    nodes = [node("Reshape", ["x", "to"], ["y"])]
    constants = {"to": np.array([7, 11, 13], np.int64)}
    path = saved(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, axes)], [("y", T.FLOAT, None)], constants)
    before = Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else "VmHWM: 0 kB"
    seen = loaded(path).warm_up
    assert any("could not run any input" in words for words in seen.warnings)
    if "VmHWM:\t" in before:
        after = Path("/proc/self/status").read_text()
        grown = [int(text.split("VmHWM:")[1].split()[0]) for text in (before, after)]
        assert grown[1] - grown[0] < 2 << 20


def test_a_batch_of_gigabytes_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "MOST_BYTES", 100)
    seen = loaded(str(onnx_models.mlp(tmp_path / "m.onnx", (8, 16, 3))), most=16).warm_up
    assert sorted(seen.seconds) == [1, 2]
    assert seen.largest is None
    assert seen.independent
