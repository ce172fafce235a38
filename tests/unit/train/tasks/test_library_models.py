"""Folders of Hugging Face's the whole way: trained, alone and in parts, exported, served."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.models.test_hugging_face import folder
from tests.unit.train.runs import runs
from tests.unit.train.tasks.test_tasks import described, png, served

ADAM = {"name": "adamw", "learningRate": 0.003, "weightDecay": 0.0}
SHORT: dict[str, Any] = {"globalBatchSize": 16, "optimizer": ADAM, "epochs": 4}


def colours(root: Path) -> dict[str, Any]:
    """recipe.dataset of dark and bright pictures."""
    for number in range(24):
        for grey, name in ((20, "dark"), (220, "bright")):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (grey + number % 9,) * 3).save(root / name / f"{number}.png")
    return {"name": "image-folder", "uri": root.as_uri()}


def reviews(root: Path) -> dict[str, Any]:
    """recipe.dataset of texts in two classes, for a folder without a tokenizer."""
    root.mkdir(parents=True)
    rows = [(f"it is {word}", word) for _ in range(40) for word in ("good", "bad")]
    with (root / "rows.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows([("text", "label"), *rows])
    (root / "tokenizer.json").write_text(tokenizer())
    data = {"name": "text-table", "uri": (root / "rows.csv").as_uri(), "sequenceLength": 16}
    return {**data, "tokenizer": (root / "tokenizer.json").as_uri()}


def tokenizer() -> str:
    """A tokenizer.json of whole words."""
    library = pytest.importorskip("tokenizers")
    words = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "it", "is", "good", "bad"))}
    made = library.Tokenizer(library.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    found: str = made.to_str()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [("single", 1), ("fsdp2", 2)], ids=str)
def test_a_folder_of_pictures_is_trained_exported_and_served(tmp_path: Path, strategy: tuple[str, int]) -> None:
    model = {"name": "hugging-face", "uri": folder(tmp_path, "vit").as_uri()}
    said = runs.run(tmp_path, *strategy, **SHORT, model=model, dataset=colours(tmp_path / "pictures"))
    assert described(tmp_path)["metrics"]["accuracy"] == 1, said
    answer = served(tmp_path, png(tmp_path / "pictures/bright/0.png"), "image/png")
    assert answer["label"] == "bright"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_folder_of_texts_is_trained_exported_and_served(tmp_path: Path, kind: str) -> None:
    model = {"name": "hugging-face", "uri": folder(tmp_path, kind).as_uri()}
    said = runs.run(tmp_path, "single", 1, **SHORT, model=model, dataset=reviews(tmp_path / "texts"))
    assert described(tmp_path)["metrics"]["accuracy"] == 1, said
    answer = served(tmp_path, json.dumps({"texts": ["it is bad"]}).encode(), "application/json")
    assert answer["label"] == "bad"
