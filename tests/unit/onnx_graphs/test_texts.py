"""Data sets of texts calibrate and judge models of tokens; they were accepted at admission and failed when used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit.onnx_graphs.graphs import built, model, random, value
from tests.unit.quantize import jobs
from workloads.errors import BadInput

LENGTH = 24
WORDS = {"good": ["fine", "great", "lovely", "super"], "bad": ["poor", "awful", "nasty", "dull"]}


def table(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{a} {b} day {n},{label}" for label, words in WORDS.items() for n, a in enumerate(words * 8) for b in words
    ]
    path = folder / "texts.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def bag_of_bytes(*, masked: bool) -> Any:
    """Embedding, (masked) mean over the positions, a product: two scores. The weights are random."""
    make = helper.make_node
    nodes = [make("Gather", ["table", "input_ids"], ["e"])]
    inputs = [value("input_ids", ["n", "t"], TensorProto.INT64)]
    if masked:
        inputs.append(value("attention_mask", ["n", "t"], TensorProto.INT64))
        nodes += [
            make("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
            make("Unsqueeze", ["m", "two"], ["mu"]),
            make("Mul", ["e", "mu"], ["e2"]),
        ]
    nodes += [
        make("ReduceMean", ["e2" if masked else "e"], ["p"], axes=[1], keepdims=0),
        make("MatMul", ["p", "w1"], ["h"], "first"),
        make("Relu", ["h"], ["r"]),
        make("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {
        "table": random(257, 16, seed=1),
        "w1": random(16, 32, seed=2),
        "w2": random(32, 2, seed=3),
        "two": np.array([2], np.int64),
    }
    return model(nodes, inputs, [value("y", ["n", 2])], weights)


def plain(folder: Path) -> Path:
    """The same texts as files, as language models are trained on."""
    texts = table(folder).read_text().splitlines()
    (folder / "texts").mkdir()
    for name, part in (("train", texts[:48]), ("validation", texts[48:])):
        (folder / "texts" / f"{name}.txt").write_text("\n".join(part))
    return folder / "texts"


def stored(folder: Path) -> Path:
    """The same texts as Hugging Face's datasets stores them."""
    library = pytest.importorskip("datasets")
    library.Dataset.from_csv(str(table(folder))).class_encode_column("label").save_to_disk(str(folder / "set"))
    return folder / "set"


@pytest.mark.parametrize(
    ("name", "made", "masked"),
    [
        ("text-table", table, False),
        ("text-table", table, True),
        ("text-files", plain, False),
        ("hugging-face", stored, True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_texts_calibrate_and_judge(tmp_path: Path, name: str, made: Callable[[Path], Path], masked: bool) -> None:
    import onnx

    onnx.save(bag_of_bytes(masked=masked), tmp_path / "model.onnx")
    data = {"dataset": {"name": name, "uri": made(tmp_path).as_uri(), "sequenceLength": LENGTH}}
    job = jobs.job(
        tmp_path / "job",
        tmp_path / "model.onnx",
        calibration={**data, "samples": 40, "methods": ["min-max"]},
        evaluation={**data, "metric": "agreement", "task": "closeness"},
        ladder=["static-per-channel", "dynamic"],
        gates={"accuracy": {"maxDrop": 0.5}, "size": {"maxRatio": 0.0001}},
    )
    found = jobs.run(job)
    assert len(built(found)) == 2


def test_texts_for_a_model_of_pictures_are_refused_in_words(tmp_path: Path) -> None:
    import onnx

    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = model(nodes, [value("x", ["n", 3, 8, 8])], [value("y", ["n", 2])], {"w": random(192, 2)})
    onnx.save(graph, tmp_path / "model.onnx")
    data = {"dataset": {"name": "text-table", "uri": table(tmp_path).as_uri(), "sequenceLength": LENGTH}}
    job = jobs.job(
        tmp_path / "job", tmp_path / "model.onnx", calibration=data, evaluation={**data, "metric": "agreement"}
    )
    with pytest.raises(BadInput, match="none takes token numbers"):
        jobs.run(job)
