"""Regression, several labels and masks: from users' files to answers of the server, and through the quantizer."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conformance.server import Server
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads.export.command import run as export
from workloads.quantize import command as quantize

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


def quantized(folder: Path, dataset: dict[str, Any], metric: str) -> int:
    """Exit code of a job that quantizes the artifact and compares answers on the data set's labels."""
    document = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "QuantizationJob",
        "metadata": {"name": "small"},
        "spec": {
            "source": {"uri": (folder / "model").as_uri()},
            "output": {"uri": (folder / "int8").as_uri()},
            "work": {"uri": (folder / "work").as_uri()},
            "method": "static",
            "calibration": {"dataset": dataset, "samples": 16},
            "evaluation": {"dataset": dataset, "metric": metric},
            "gates": {"accuracy": {"maxDrop": 0.5}},
            "optimizeFor": "size",
        },
    }
    (folder / "quantize.json").write_text(json.dumps(document))
    return quantize.main(["--config", str(folder / "quantize.json")])


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


def test_masks_are_learned_served_and_quantized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = discs(tmp_path / "pictures")
    model = {"name": "unet", "width": 4}
    said = runs.run(tmp_path, "single", 1, **SHORT, task="segmentation", dataset=data, model=model, epochs=8)
    assert "255 is taken for square" in said
    found = described(tmp_path)
    assert found["task"] == "segmentation"
    assert found["metrics"]["meanIou"] > 0.8, said
    answer = served(tmp_path, png(tmp_path / "pictures/images/0.png"), "image/png")
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
    true = np.asarray(Image.open(tmp_path / "pictures/masks/0.png")) > 0
    assert ((mask > 0) == true).mean() > 0.9
    assert quantized(tmp_path, data, "top-1") == 2
    assert "set evaluation.metric: labels" in capsys.readouterr().err
    assert quantized(tmp_path, data, "labels") == 0
    assert json.loads((tmp_path / "int8/artifact.json").read_text())["task"] == "segmentation"


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
