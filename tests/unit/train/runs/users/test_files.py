"""Data as users have them: splits in any spelling, tables of any make, broken pictures, missing labels."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway.api.common.sources import DatasetChoice
from workloads import data
from workloads.data import splits
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput

ROWS = [(f"{word} thing {n}", word) for n in range(20) for word in ("good", "bad")]


def choice(name: str, path: Path, **more: Any) -> DatasetChoice:
    return DatasetChoice.model_validate({"name": name, "uri": path.as_uri(), "sequenceLength": 8, **more})


def opened(name: str, path: Path, **more: Any) -> Any:
    return data.open_set(choice(name, path, **more))


def picture(path: Path, colour: int = 0, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(path)


def classes_in(folder: Path, count: int = 6) -> None:
    for number in range(count):
        for colour, name in enumerate(("cat", "dog")):
            picture(folder / name / f"{number}.png", colour * 200)


@pytest.mark.parametrize("training", ["train", "Training", "TRAIN", "train2017", "train_set"])
@pytest.mark.parametrize(
    "held", ["validation", "valid", "Val", "dev", "eval", "test", "holdout", "held-out", "val2017"]
)
def test_split_folders_in_any_spelling_are_no_classes(tmp_path: Path, training: str, held: str) -> None:
    """train/ and validation/ became a classifier of "train" against "validation"."""
    classes_in(tmp_path / training, 4)
    classes_in(tmp_path / held, 2)
    found = opened("image-folder", tmp_path)
    assert found.labels == ("cat", "dog")
    assert (len(found.training), len(found.held_out)) == (8, 4)
    assert f"trained on {training}, held out {held}" in found.taken[0]


def test_of_validation_and_test_the_first_is_held_out_and_the_other_told(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        classes_in(tmp_path / name, 2)
    assert opened("image-folder", tmp_path).taken[0] == "trained on train, held out validation, not used test"
    said = {"heldOut": "test", "training": "train"}
    assert (
        opened("image-folder", tmp_path, splits=said).taken[0] == "trained on train, held out test, not used validation"
    )
    with pytest.raises(BadInput, match="names 'tset', there is test, train, validation"):
        opened("image-folder", tmp_path, splits={"heldOut": "tset"})


def test_classes_that_are_called_like_splits(tmp_path: Path) -> None:
    for name in ("bus", "train", "test"):
        picture(tmp_path / name / "1.png")
        picture(tmp_path / name / "2.png")
    assert opened("image-folder", tmp_path).labels == ("bus", "test", "train")
    for path in (tmp_path / "bus").iterdir():
        path.unlink()
    (tmp_path / "bus").rmdir()
    with pytest.raises(BadInput, match=r"set dataset\.splits\.ignore if they are the classes"):
        opened("image-folder", tmp_path)
    assert opened("image-folder", tmp_path, splits={"ignore": True}).labels == ("test", "train")


def test_a_lone_training_folder_is_the_data(tmp_path: Path) -> None:
    classes_in(tmp_path / "train", 10)
    found = opened("image-folder", tmp_path)
    assert (found.labels, len(found.training), len(found.held_out)) == (("cat", "dog"), 16, 4)


@pytest.mark.parametrize(
    "name", ["constraint.md", "restrained.txt", "latest.txt", "trainer.md", "evaluate-me-not-ly.text"]
)
def test_a_file_whose_name_contains_a_split_is_none(name: str) -> None:
    """text-files dropped most of a folder because of "constraint.md"."""
    assert splits.kind_of_file(name) in {None, 2} if name.startswith("evaluate") else splits.kind_of_file(name) is None


def test_text_files_are_all_used_and_counted(tmp_path: Path) -> None:
    for name in ("constraint.md", "latest.txt", "chapter.TXT", "README.md"):
        (tmp_path / name).write_text(f"{name} " * 50)
    (tmp_path / "more.txt.gz").write_bytes(gzip.compress(b"packed " * 50))
    found = opened("text-files", tmp_path)
    assert found.taken[0] == "4 of 5 files used"
    assert "not used README.md" in found.taken[1]


def test_text_files_named_as_splits_among_others_are_asked_about(tmp_path: Path) -> None:
    for name in ("wiki.train.txt", "wiki.valid.txt", "LICENSE.txt"):
        (tmp_path / name).write_text("word " * 50)
    assert opened("text-files", tmp_path).taken[0] == "2 of 3 files used"
    (tmp_path / "chapter.txt").write_text("word " * 50)
    with pytest.raises(BadInput, match=r"what is chapter.txt\? Name it so, move it away, or set dataset.splits"):
        opened("text-files", tmp_path)
    assert opened("text-files", tmp_path, splits={"ignore": True}).taken[0] == "3 of 4 files used"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_text_of_one_long_line_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(("wörd " * 400).encode(encoding))
    found = opened("text-files", path)
    assert len(found.held_out) >= 10
    first = bytes(found.training.batch([0])[0][0].astype(np.uint8))
    assert first.decode(errors="ignore").startswith("wörd")


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"one\ntwo\nth\xe9 three\n")
    with pytest.raises(BadInput, match=r"line 3 is not UTF-8 .*: save the file as UTF-8"):
        opened("text-files", tmp_path / "book.txt")


def csv_of(rows: Any, separator: str = ",", header: str = "text,label") -> str:
    return header.replace(",", separator) + "\n" + "".join(f"{text}{separator}{label}\n" for text, label in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", csv_of(ROWS).encode("utf-8-sig")),
        ("a.csv", csv_of(ROWS).encode("utf-16")),
        ("a.csv", csv_of(ROWS, ";").encode()),
        ("a.csv", csv_of(ROWS, "\t").encode()),
        ("A.CSV", csv_of(ROWS).replace("\n", "\r\n").encode()),
        ("a.tsv", csv_of(ROWS, "\t").encode()),
        ("a.csv.gz", gzip.compress(csv_of(ROWS).encode())),
        ("a.jsonl", "\n".join(json.dumps({"text": t, "label": w}) for t, w in ROWS).encode()),
        ("a.jsonl.gz", gzip.compress("\n".join(json.dumps({"text": t, "label": w}) for t, w in ROWS).encode())),
        ("a.json", json.dumps([{"text": t, "label": w} for t, w in ROWS], indent=1).encode()),
        ("a.csv", ("text,label\n" + "".join(f'"{"long " * 40000}",{w}\n' for _, w in ROWS)).encode()),
        ("a.csv", ("text,label\n" + "".join(f'"two\nlines; {t}",{w}\n' for t, w in ROWS)).encode()),
    ],
)  # fmt: skip
def test_tables_of_any_make(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    found = opened("text-table", tmp_path / name)
    assert (found.labels, len(found.training), len(found.held_out)) == (("bad", "good"), 32, 8)


def test_a_parquet_table(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [w for _, w in ROWS]}), tmp_path / "a.parquet")
    assert opened("text-table", tmp_path / "a.parquet").labels == ("bad", "good")


def test_other_column_names_are_told_with_the_field_that_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_of(ROWS, header="review,sentiment"))
    with pytest.raises(
        BadInput, match=r"no column text and no column label, but review, sentiment: name them by dataset"
    ):
        opened("text-table", path)
    assert opened("text-table", path, columns={"text": "review", "label": "sentiment"}).labels == ("bad", "good")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\nx,good\ny,\nz,bad\nw, \nv\n" + csv_of(ROWS)[11:]),
        ("a.jsonl", "\n".join(json.dumps(row) for row in (
            {"text": "x", "label": "good"}, {"text": "y", "label": None}, {"text": "z", "label": "bad"},
            {"text": "w", "label": " "}, {"text": "v"}, *({"text": t, "label": w} for t, w in ROWS)))),
    ],
)  # fmt: skip
def test_a_missing_label_is_no_class(tmp_path: Path, name: str, content: str) -> None:
    """'' and 'None' became classes."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(
        BadInput, match=r"rows 2, 4, 5 without label: fill it in, remove them, or set dataset.onBadSample"
    ):
        opened("text-table", path)
    found = opened("text-table", path, onBadSample="Skip")
    assert found.labels == ("bad", "good")
    assert len(found.training) + len(found.held_out) == 42


def test_a_missing_text_is_not_the_word_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": None if n == 1 else t, "label": w}) for n, (t, w) in enumerate(ROWS)))
    with pytest.raises(BadInput, match="row 2 without text"):
        opened("text-table", path)


@pytest.mark.parametrize("labels", [[n / 7 for n in range(40)], [f"id-{n}" for n in range(40)]])
def test_numbers_to_be_estimated_are_no_classes(tmp_path: Path, labels: list[Any]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_of([(f"t{n}", label) for n, label in enumerate(labels)]))
    with pytest.raises(BadInput, match=r"40 different labels in 40 rows, like .*: they are no classes"):
        opened("text-table", path)


def test_a_tables_column_names_the_split(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{t},{w},{'Test' if n % 4 == 0 else 'TRAIN'}\n" for n, (t, w) in enumerate(ROWS))
    path.write_text("text,label,split\n" + rows)
    found = opened("text-table", path)
    assert (len(found.training), len(found.held_out)) == (30, 10)
    assert found.taken[0] == "by the column split: trained on TRAIN, held out Test"
    path.write_text("text,label,fold\n" + rows.replace("Test", "b").replace("TRAIN", "a"))
    said = {"columns": {"split": "fold"}, "splits": {"training": "a", "heldOut": "b"}}
    assert len(opened("text-table", path, **said).held_out) == 10


def test_a_folder_of_tables(tmp_path: Path) -> None:
    (tmp_path / "Train.csv").write_text(csv_of(ROWS[:30]))
    (tmp_path / "dev.csv").write_text(csv_of(ROWS[30:]))
    found = opened("text-table", tmp_path)
    assert (len(found.training), len(found.held_out)) == (30, 10)


@pytest.mark.parametrize("held", ["test", "validation", "dev"])
def test_a_given_split_of_a_dataset_dict_is_held_out(tmp_path: Path, held: str) -> None:
    """The test split was ignored, and a fifth of the training held out."""
    library = pytest.importorskip("datasets")
    features = library.Features({"text": library.Value("string"), "label": library.ClassLabel(names=["bad", "good"])})
    rows = {"text": [t for t, _ in ROWS], "label": [w for _, w in ROWS]}
    own = library.Dataset.from_dict(rows, features=features)
    parts = {"train": own, held: own.select(range(6)), "unsupervised": own.select(range(2))}
    library.DatasetDict(parts).save_to_disk(tmp_path / "set")
    found = opened("hugging-face", tmp_path / "set")
    assert (len(found.training), len(found.held_out), found.labels) == (40, 6, ("bad", "good"))
    assert found.taken[0] == f"trained on train, held out {held}, not used unsupervised"


def test_an_unknown_label_of_hugging_face_is_not_its_last_class(tmp_path: Path) -> None:
    library = pytest.importorskip("datasets")
    features = library.Features({"text": library.Value("string"), "label": library.ClassLabel(names=["bad", "good"])})
    rows = {"text": [t for t, _ in ROWS], "label": [-1 if n == 2 else n % 2 for n, _ in enumerate(ROWS)]}
    library.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    with pytest.raises(BadInput, match="row 3 without label"):
        opened("hugging-face", tmp_path / "set")


def test_a_class_of_one_sample_is_learned(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_of([*ROWS, ("rare thing", "rare")]))
    found = opened("text-table", path)
    assert isinstance(found, TextSet)
    assert found.labels.index("rare") in found.training.batch(range(len(found.training)))[1]
