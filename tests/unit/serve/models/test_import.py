"""ONNX files that others exported become artifacts, by a command or by fields of the service, and answer pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T
from PIL import Image

from slipway.api.common.artifact import Task
from slipway.api.serving.inferenceservice import KIND, spec_problems
from tests.conformance.server import Server
from tests.unit.api.admission import Admission
from tests.unit.serve import onnx_models
from workloads import artifact
from workloads.importing.command import main as import_command
from workloads.serve.web.pictures.detection import layout_of

# In a picture of 128 x 64 that is letterboxed into 64 x 64, y begins at 16 and everything is half as large.
BOXES = [(8, 20, 24, 40, 0.9, 1), (9, 20, 24, 40, 0.6, 1), (40, 24, 60, 44, 0.4, 0)]
EXPECTED = [("dog", 0.9, [16, 8, 48, 48]), ("cat", 0.4, [80, 16, 120, 56])]


def picture(width: int = 128, height: int = 64, colour: tuple[int, int, int] = (10, 20, 30)) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(packed, format="PNG")
    return packed.getvalue()


def imported(model: Path, output: Path, *options: str) -> Path:
    assert import_command(["--onnx", str(model), "--output", str(output), *options]) == 0
    return output


def predict(server: Server, query: str = "", content: bytes | None = None) -> Any:
    return server.ask("POST", f"/predict{query}", content or picture(), {"Content-Type": "image/png"})


def told(answer: Any) -> list[tuple[str, float, list[int]]]:
    assert answer.status == 200, answer.body
    objects = answer.json["predictions"][0]["objects"]
    return [(one["label"], round(one["score"], 2), [round(edge) for edge in one["box"]]) for one in objects]


@pytest.mark.parametrize("layout", ["yolov5", "yolov8", "yolov10"])
def test_a_ready_yolo_answers_a_png_with_boxes(tmp_path: Path, layout: str) -> None:
    model = onnx_models.yolo(tmp_path / "yolo.onnx", layout, BOXES)
    options = ("--task", "object-detection", "--labels", "cat,dog", "--thresholds", "score=0.3,overlap=0.4")
    folder = imported(model, tmp_path / "artifact", *options)
    server = Server(tmp_path / "log", "--model", str(folder), "--threads", "1").wait()
    try:
        # YOLOv10 has taken away by itself what overlaps, and is believed.
        extra = [("dog", 0.6, [18, 8, 48, 48])] if layout == "yolov10" else []
        assert told(predict(server)) == sorted([*EXPECTED, *extra], key=lambda one: -one[1])
        assert told(predict(server, "?score=0.85")) == EXPECTED[:1]
        if layout != "yolov10":
            assert len(told(predict(server, "?overlap=0.99"))) == 3
        for query in ("?score=2", "?score=nan", "?score=", "?score=0.1&score=0.2", "?iou=0.5", "?score", "?%ff=1"):
            assert predict(server, query).status == 400, query
    finally:
        assert server.stop() == 0


def test_the_same_by_fields_of_the_service_without_a_command(tmp_path: Path) -> None:
    onnx_models.yolo(tmp_path / "model.onnx", "yolov8", BOXES)
    model = {
        "uri": tmp_path.as_uri(),
        "task": "object-detection",
        "labels": ["cat", "dog"],
        "detection": {"score": 0.3, "overlap": 0.4},
    }
    document = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "yolo"},
        "spec": {"predictor": {"model": model, "engine": {"name": "onnxruntime", "threads": 1}}},
    }
    assert not Admission(KIND).refusals(document)
    (tmp_path / "service.json").write_text(json.dumps(document))
    server = Server(tmp_path / "log", "--config", str(tmp_path / "service.json")).wait()
    try:
        assert told(predict(server)) == EXPECTED
        assert server.ask("GET", "/predict").json["task"] == "object-detection"
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("shapes", "labels", "layout"),
    [
        ({"output0": [1, 25200, 85]}, 80, "yolov5"),
        ({"output0": [1, 84, 8400]}, 80, "yolov8"),
        ({"output0": [1, 300, 6]}, 80, "yolov10"),
        ({"output0": [1, 300, 6]}, 1, "yolov10"),
        ({"output0": [1, 25200, 6]}, 1, "yolov5"),
        ({"output0": [1, 5, 8400]}, 1, "yolov8"),
        ({"output0": [1, 84, 8400]}, 0, "yolov8"),
        ({"output0": [1, 25200, 85]}, 0, "yolov5"),
        ({"boxes": [1, 9, 4], "scores": [1, 9, 2]}, 2, "boxes-scores"),
        ({"output0": [1, 116, 8400]}, 80, None),
        ({"output0": [1, 8400]}, 80, None),
        ({"output0": [1, 25200, 90]}, 80, None),
    ],
)
def test_layouts_are_known_by_their_shapes(shapes: dict[str, list[int]], labels: int, layout: str | None) -> None:
    assert layout_of(shapes, labels) == layout


@pytest.mark.parametrize(
    ("shape", "kind", "options", "expected"),
    [
        (["batch", 3, 4, 4], T.FLOAT, [], [10 / 255, 20 / 255, 30 / 255]),
        (["batch", 3, 4, 4], T.FLOAT, ["--order", "BGR", "--scale", "1"], [30, 20, 10]),
        (["batch", 3, 4, 4], T.FLOAT, ["--mean", "0.5", "--std", "0.5,0.25,0.1"], [-0.9216, -1.6863, -3.8235]),
        (["batch", 4, 4, 3], T.FLOAT, ["--scale", "1"], [10, 20, 30]),
        (["batch", 4, 4, 3], T.UINT8, ["--scale", "1"], [10, 20, 30]),
        (["batch", 1, 4, 4], T.FLOAT, ["--scale", "1"], [18]),
    ],
    ids=["plain", "bgr", "normalised", "nhwc", "bytes", "grey"],
)
def test_a_picture_reaches_the_model_as_was_said(
    tmp_path: Path, shape: list[int | str], kind: int, options: list[str], expected: list[float]
) -> None:
    model = onnx_models.pixels(tmp_path / "x.onnx", shape, kind)
    folder = imported(model, tmp_path / "artifact", "--task", "embedding", *options)
    server = Server(tmp_path / "log", "--model", str(folder), "--threads", "1").wait()
    try:
        answer = predict(server)
        assert answer.status == 200, answer.body
        seen = np.reshape(answer.json["predictions"][0]["embedding"], shape[1:])
        middle = seen[2, 2] if shape[3] == 3 else seen[:, 2, 2]
        np.testing.assert_allclose(middle, expected, atol=1e-3)
    finally:
        assert server.stop() == 0


def test_a_segmentation_says_a_class_for_each_pixel(tmp_path: Path) -> None:
    model = onnx_models.write(
        tmp_path / "s.onnx",
        [onnx_models.helper.make_node("Identity", ["x"], ["y"])],
        [("x", T.FLOAT, ["batch", 3, 4, 8])],
        [("y", T.FLOAT, ["batch", 3, 4, 8])],
    )
    folder = imported(model, tmp_path / "artifact", "--task", "segmentation", "--labels", "sky,sea,sand")
    server = Server(tmp_path / "log", "--model", str(folder), "--threads", "1").wait()
    try:
        (said,) = predict(server).json["predictions"]
        assert (said["width"], said["height"]) == (8, 4)
        assert said["classes"] == [{"label": "sand", "index": 2, "share": 1.0}]
    finally:
        assert server.stop() == 0


def test_the_artifact_keeps_external_data_and_says_where_it_is_from(tmp_path: Path) -> None:
    import onnx

    model = onnx_models.mlp(tmp_path / "source" / "model.onnx", (8, 16, 3))
    graph = onnx.load(model)
    onnx.save(graph, model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    folder = imported(model.parent, tmp_path / "artifact", "--task", "tabular", "--labels", "a,b,c")
    stored = artifact.read(folder)
    assert {file.path for file in stored.description.files} == {"model.onnx", "weights.bin"}
    assert stored.description.parameters == 8 * 16 + 16 + 16 * 3 + 3
    assert stored.description.task is Task.TABULAR
    assert stored.description.lineage.sources[0].digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        (["batch", 3, "h", "w"], ["--task", "image-classification"], "leaves its height open"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--size", "9"], "image.height is 9"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--size", "8by8"], "--size is a number of pixels"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--mean", "a"], "--mean are numbers"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--mean", "1,2"], "mean and std have one number"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--std", "0"], "greater than 0"),
        (["batch", 3, 8, 8], ["--task", "image-classification", "--labels", "a,b"], "2 labels, the model's output has"),
        (["batch", 3, 8, 8], ["--task", "object-detection", "--thresholds", "score=2"], "less than or equal to 1"),
        (["batch", 3, 8, 8], ["--task", "object-detection", "--thresholds", "iou=0.5"], "unknown field"),
        (["batch", 3, 8, 8], ["--task", "object-detection", "--thresholds", "0.5"], "--thresholds are"),
        (["batch", 3, 8, 8], ["--task", "raw", "--thresholds", "score=0.5"], "detection is for task"),
        (["batch", 3, 8, 8], ["--task", "tabular", "--size", "8"], "image is for task"),
        (
            ["batch", 3, 8, 8],
            ["--task", "image-classification", "--fit", "Stretch", "--resize", "9"],
            "set fit to Crop",
        ),
        (["batch", 5, 8, 8], ["--task", "image-classification"], "pictures have 1 or 3"),
        (["batch", 8], ["--task", "image-classification"], "needs one input of pictures"),
        (["batch", 8], ["--task", "text-classification"], "texts need tokenizer.json"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: list[int | str], options: list[str], words: str
) -> None:
    model = onnx_models.pixels(tmp_path / "x.onnx", shape)
    assert import_command(["--onnx", str(model), "--output", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x80\x04model")
    assert import_command(["--onnx", str(tmp_path / "x.onnx"), "--output", str(tmp_path / "o"), "--task", "raw"]) == 2
    assert "pickle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"labels": ["a"]}, "labels are those of a task"),
        ({"task": "tabular", "image": {"width": 8}}, "image is for task"),
        ({"task": "raw", "detection": {}}, "detection is for task"),
        ({"detection": {}}, "detection is for task"),
        ({"task": "object-detection", "text": {}}, "text is for task"),
        ({"task": "image-classification", "image": {"fit": "Stretch", "resize": 9}}, "set fit to Crop"),
        ({"task": "image-classification", "image": {"mean": [0, 0]}}, "mean and std"),
        ({"task": "image-classification", "image": {"channels": 2}}, "channels are 1, grey, or 3"),
        ({"task": "guess"}, "task"),
    ],
)
def test_fields_of_the_service_that_make_no_sense_are_refused_by_both(model: dict[str, Any], words: str) -> None:
    spec = {"predictor": {"model": {"uri": "pvc://models/x", **model}}}
    body = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService", "metadata": {"name": "x"}, "spec": spec}
    assert Admission(KIND).refusals(body)
    parsed, problems = spec_problems("x", spec)
    assert parsed is None
    assert words in "; ".join(problems)
