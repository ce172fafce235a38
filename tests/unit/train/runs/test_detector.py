"""A detector from its data to answers: trained by the command, exported, served, and asked with a picture."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conformance.server import Server
from tests.unit.train.runs.runs import run
from workloads.data.detection import shapes
from workloads.export.command import run as export
from workloads.vision.detection import overlaps

SHAPES = {"model": {"name": "yolo"}, "dataset": {"name": "shapes"}, "globalBatchSize": 32}
ADAM = {"name": "adamw", "learningRate": 0.004, "weightDecay": 0.0001}


def trained(folder: Path, count: int = 1, **recipe) -> dict:
    """The last epoch's row."""
    run(folder, "ddp" if count > 1 else "single", count, **{**SHAPES, "optimizer": ADAM, **recipe})
    rows = (folder / "model/metrics.jsonl").read_text().splitlines()
    return json.loads(rows[-1])


def answers(model: Path, pictures: list[np.ndarray], log: Path) -> list[list[dict]]:
    """What the server finds in pictures [3, 64, 64] that are sent three times as large."""
    server = Server(log, "--model", str(model), "--engine", "onnxruntime", "--threads", "1").wait()
    try:
        found = []
        for pixels in pictures:
            picture, content = Image.fromarray(pixels.transpose(1, 2, 0)).resize((192, 192)), io.BytesIO()
            picture.save(content, "png")
            answer = server.ask("POST", "/predict", content.getvalue(), {"Content-Type": "image/png"})
            assert answer.status == 200, answer.body
            found.append(answer.json["predictions"][0]["objects"])
        return found
    finally:
        assert server.stop() == 0


def share_found(model: Path, count: int, log: Path) -> float:
    """Of the shapes in held-out pictures, how many the server finds where they are, with their name."""
    pixels, rows = shapes.load(None).held_out.batch(range(count))
    right = total = 0
    for objects, boxes in zip(answers(model, list(pixels), log), rows, strict=True):
        for kind, x, y, width, height in boxes[boxes[:, 0] >= 0].tolist():
            true = 3 * np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            own = [one["box"] for one in objects if one["label"] == shapes.CLASSES[int(kind)]]
            total += 1
            right += bool(own) and bool((overlaps(true[None], np.array(own)) > 0.5).any())
    return right / total


def test_a_detector_is_trained_exported_and_served(tmp_path: Path) -> None:
    """Short: it need not be good yet, but it learns, and its layout is what the server reads."""
    row = trained(tmp_path, dataset={"name": "shapes", "limit": 256}, epochs=2, model={"name": "yolo", "width": 8})
    assert row["samples"] == shapes.HELD_OUT
    assert 0 <= row["averagePrecision50"] <= 1
    first = json.loads((tmp_path / "model/metrics.jsonl").read_text().splitlines()[0])
    assert row["trainingLoss"] < first["trainingLoss"]
    described = json.loads((tmp_path / "model/artifact.json").read_text())
    assert (described["task"], described["labels"]) == ("object-detection", list(shapes.CLASSES))
    assert described["signature"]["outputs"][0]["shape"] == ["batch", 3 * (64 + 16), 8]
    export(str(tmp_path / "model"), str(tmp_path / "exported"))  # compared with torch on held-out pictures
    found = answers(tmp_path / "exported", list(shapes.load(None).held_out.batch(range(2))[0]), tmp_path / "log")
    assert all(one["label"] in shapes.CLASSES and max(one["box"]) <= 192 for objects in found for one in objects)


@pytest.mark.slow
def test_a_trained_detector_finds_what_is_there(tmp_path: Path) -> None:
    small = {"model": {"name": "yolo", "width": 8}, "dataset": {"name": "shapes", "limit": 1536}}
    row = trained(tmp_path, epochs=8, schedule={"name": "cosine", "warmupSteps": 30}, **small)
    assert row["averagePrecision50"] > 0.7
    export(str(tmp_path / "model"), str(tmp_path / "exported"))
    assert share_found(tmp_path / "exported", 40, tmp_path / "log") > 0.6
