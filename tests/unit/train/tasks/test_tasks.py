"""Regression, several labels and masks: from users' files to answers of the server, and through the quantizer."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

from slipway.api.common.artifact import Preprocessing, Task
from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric, EvaluationTask
from tests.conformance.server import Server
from tests.unit.quantize import jobs as quantize
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads.errors import BadInput
from workloads.export.command import run as export
from workloads.onnx.file import Port
from workloads.onnx.samples.sources import evaluation_samples
from workloads.quantize.evaluation.judged import judged
from workloads.quantize.evaluation.measures import measure_of
from workloads.quantize.run import Rejected

SIDE = 16
ADAM = {"name": "adamw", "learningRate": 0.01, "weightDecay": 0.0}
SHORT: dict[str, Any] = {"globalBatchSize": 16, "optimizer": ADAM, "gradientClipping": None}


def bright(folder: Path, count: int = 80) -> dict[str, Any]:
    """recipe.dataset of grey pictures, whose table has numbers far from 0: of 250,000 and of -3."""
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as sink:
        table = csv.writer(sink)
        table.writerow(["file_name", "price", "depth"])
        for number in range(count):
            grey = 3 * number
            Image.new("RGB", (SIDE, SIDE), (grey, grey, grey)).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", 200_000 + 400 * grey, -3 - grey / 100])
    columns = {"labels": ["price", "depth"]}
    return {"name": "image-folder", "uri": folder.as_uri(), "columns": columns}


def lamps(folder: Path, count: int = 96) -> dict[str, Any]:
    """recipe.dataset of pictures with a red square, a green one, both or none, and a list of labels each."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        picture = Image.new("RGB", (SIDE, SIDE))
        labels = [name for bit, name in enumerate(("green", "red")) if number >> bit & 1]
        if "red" in labels:
            picture.paste((255, 0, 0), (0, 0, 8, 8))
        if "green" in labels:
            picture.paste((0, 255, 0), (8, 8, 16, 16))
        picture.save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "label": labels})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "image-folder", "uri": folder.as_uri()}


def discs(folder: Path, count: int = 60) -> dict[str, Any]:
    """recipe.dataset of pictures with a bright square, and black and white masks of it."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nsquare\n")
    random = np.random.RandomState(0)
    for number in range(count):
        left, top = random.randint(0, 9, 2).tolist()
        picture, mask = Image.new("RGB", (SIDE, SIDE), (20, 20, 20)), Image.new("L", (SIDE, SIDE))
        picture.paste((230, 200, 180), (left, top, left + 7, top + 7))
        mask.paste(255, (left, top, left + 7, top + 7))
        picture.save(folder / f"images/{number}.png")
        mask.save(folder / f"masks/{number}.png")
    return {"name": "mask-folder", "uri": folder.as_uri()}


def served(folder: Path, body: bytes, kind: str) -> Any:
    """The exported model's answer to one request."""
    export(str(folder / "model"), str(folder / "exported"))
    server = Server(folder / "log", "--model", str(folder / "exported"), "--engine", "onnxruntime", "--threads", "1")
    server.wait()
    try:
        answer = server.ask("POST", "/predict", body, {"Content-Type": kind})
        assert answer.status == 200, answer.body
        return answer.json["predictions"][0]
    finally:
        assert server.stop() == 0


def described(folder: Path) -> Any:
    return json.loads((folder / "model/artifact.json").read_text())


def png(path: Path) -> bytes:
    sink = io.BytesIO()
    Image.open(path).save(sink, "png")
    return sink.getvalue()


def test_numbers_are_learned_in_their_units_and_served_by_name(tmp_path: Path) -> None:
    data = bright(tmp_path / "pictures")
    said = runs.run(tmp_path, "ddp", 2, **SHORT, task="regression", dataset=data, epochs=8)
    assert "data: price 2" in said
    found = described(tmp_path)
    assert (found["task"], found["labels"]) == ("regression", ["price", "depth"])
    assert found["metrics"]["r2"] > 0.7, said
    answer = served(tmp_path, png(tmp_path / "pictures/40.png"), "image/png")["values"]
    assert answer["price"] == pytest.approx(248_000, abs=15_000)
    assert answer["depth"] == pytest.approx(-4.2, abs=0.4)


def test_any_number_of_labels_is_learned_and_served(tmp_path: Path) -> None:
    data = lamps(tmp_path / "pictures")
    said = runs.run(tmp_path, "single", 1, **SHORT, task="multi-label", dataset=data, epochs=8)
    assert "data: 2 labels: " in said
    found = described(tmp_path)
    assert (found["task"], found["labels"]) == ("multi-label-classification", ["green", "red"])
    assert found["metrics"]["f1"] > 0.9, said
    assert found["metrics"]["meanAveragePrecision"] > 0.9
    answer = served(tmp_path, png(tmp_path / "pictures/3.png"), "image/png")
    assert sorted(answer["labels"]) == ["green", "red"]


def test_masks_are_learned_and_served(tmp_path: Path) -> None:
    data = discs(tmp_path / "pictures")
    model = {"name": "unet", "width": 4}
    quick = {**SHORT, "globalBatchSize": 4, "optimizer": {**ADAM, "learningRate": 0.03}}
    said = runs.run(tmp_path, "single", 1, **quick, task="segmentation", dataset=data, model=model, epochs=6)
    assert "255 is taken for square" in said
    found = described(tmp_path)
    assert found["task"] == "segmentation"
    assert found["metrics"]["meanIou"] > 0.8, said
    answer = served(tmp_path, png(tmp_path / "pictures/images/0.png"), "image/png")
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
    true = np.asarray(Image.open(tmp_path / "pictures/masks/0.png")) > 0
    assert ((mask > 0) == true).mean() > 0.9


@pytest.mark.slow
def test_a_model_of_masks_is_quantized_by_their_overlap(tmp_path: Path) -> None:
    data = discs(tmp_path / "pictures")
    quick = {**SHORT, "globalBatchSize": 4, "optimizer": {**ADAM, "learningRate": 0.03}}
    runs.run(tmp_path, "single", 1, **quick, dataset=data, model={"name": "unet", "width": 4}, epochs=6)
    wanted: dict[str, Any] = {
        "calibration": {"dataset": data, "samples": 16},
        "evaluation": {"dataset": data, "metric": "labels"},
        "gates": {"accuracy": {"maxDrop": 0.5}},
        "ladder": ["static-per-channel"],
        "optimizeFor": "size",
    }
    quantize.run(quantize.job(tmp_path / "int8", tmp_path / "model", **wanted))
    found = json.loads((tmp_path / "int8/out/artifact.json").read_text())
    assert (found["task"], found["labels"]) == ("segmentation", ["ground", "square"])
    # Ranges of pictures without light: the squares are cut off, and the gate on the overlap sees it.
    dark = discs(tmp_path / "dark", 8)
    for path in (tmp_path / "dark/images").iterdir():
        Image.new("RGB", (SIDE, SIDE)).save(path)
    strict = {"gates": {"accuracy": {"maxDrop": 0.05}}, "onFailure": "fail"}
    blind = {**wanted, **strict, "calibration": {"dataset": dark, "samples": 8}}
    with pytest.raises(Rejected, match="no candidate passes the gates"):
        quantize.run(quantize.job(tmp_path / "blind", tmp_path / "model", **blind))
    assert not (tmp_path / "blind/out").exists()


def test_answers_of_a_task_are_judged_by_its_measure_on_its_data(tmp_path: Path) -> None:
    """Without training: what the quantizer reads of the artifact's task, and what it refuses in words."""
    choice = Evaluation.model_validate({"dataset": discs(tmp_path), "metric": "labels"})
    shape = Preprocessing(channels=3, height=SIDE, width=SIDE, mean=[0.5], std=[0.5])
    ports = [Port("images", "float32", (None, 3, SIDE, SIDE))]
    samples = evaluation_samples(choice, ports, shape, task=Task.SEGMENTATION, want_labels=True)
    labels = samples.read([0, 1]).labels
    assert labels is not None
    assert labels.shape == (2, SIDE, SIDE)
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[n,2,16,16] x) => (float[n,2,16,16] y) { y = Relu(x) }'
    )
    assert judged(graph, choice, Task.SEGMENTATION).task is EvaluationTask.SEGMENTATION
    with pytest.raises(BadInput, match=r"the model's task is regression: set evaluation.metric: labels"):
        judged(graph, choice.model_copy(update={"metric": EvaluationMetric.TOP1}), Task.REGRESSION)
    scores = measure_of(EvaluationTask.SEGMENTATION, 0.0).score(labels.astype(np.float32)[:, None] - 0.5, labels)
    assert scores.tolist() == [1.0, 1.0]
    hidden = np.where(labels == 1, -1, labels)  # what is not learned is not judged either
    assert (
        measure_of(EvaluationTask.SEGMENTATION, 0.0).score(labels.astype(np.float32)[:, None] - 0.5, hidden).min() == 1
    )


def test_numbers_of_texts_are_learned_and_served(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{'good ' * (n % 5)}bad,{100 + 10 * (n % 5)}\n" for n in range(100)))
    data = {"name": "text-table", "uri": path.as_uri(), "sequenceLength": 32}
    model = {"name": "text-classifier", "layers": 1, "hiddenSize": 16, "heads": 2}
    said = runs.run(tmp_path, "single", 1, **SHORT, task="regression", dataset=data, model=model, epochs=2)
    assert described(tmp_path)["metrics"]["rmse"] < 40, said
    answer = served(tmp_path, json.dumps({"texts": ["good good bad"]}).encode(), "application/json")
    assert 60 < answer["value"] < 180
    assert answer["tokens"] == len("good good bad")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"task": "segmentation"}, "task segmentation learns masks: use dataset mask-folder or custom"),
        ({"task": "regression"}, "task regression and multi-label learn what a table says"),
        (
            {"task": "multi-label", "dataset": {"name": "image-folder", "uri": "file:///data"}, "labelSmoothing": 0.1},
            "labelSmoothing are for one class per sample",
        ),
        (
            {"task": "regression", "dataset": {"name": "mask-folder", "uri": "file:///data"}},
            "dataset mask-folder is for task segmentation",
        ),
    ],
)
def test_a_task_that_does_not_fit_is_refused_at_admission(tmp_path: Path, recipe: dict[str, Any], words: str) -> None:
    assert words in jobs.refused(tmp_path, **recipe)
