"""Data as users have them: splits in any spelling, tables of any make, broken pictures, missing labels."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway.api.common.sources import DatasetChoice
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads import data
from workloads.data import splits
from workloads.data.images import image_folder
from workloads.data.texts import text_files
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput, Unavailable
from workloads.models.from_artifact import load_model
from workloads.train.setup import augmented
from workloads.train.tasks import Figures

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


@pytest.mark.parametrize("make", ["truncated", "text", "empty"])
def test_a_broken_picture_is_refused_or_skipped_and_named(tmp_path: Path, make: str) -> None:
    classes_in(tmp_path, 20)
    bad = tmp_path / "cat/3.png"
    bad.write_bytes({"truncated": bad.read_bytes()[:40], "text": b"no picture", "empty": b""}[make])
    with pytest.raises(BadInput, match=r"cat/3.png: this picture cannot be decoded .*set dataset.onBadSample: Skip"):
        image_folder.load(choice("image-folder", tmp_path)).training.batch(range(32))
    found = opened("image-folder", tmp_path, onBadSample="Skip")
    pixels, labels = found.training.batch(range(len(found.training)))
    assert len(pixels) == len(labels) == 32
    assert {int(p.max()) for p, label in zip(pixels, labels, strict=True) if label == 0} == {0}
    found.held_out.batch(range(8))
    assert found.bad.names() == {str(bad)}


def test_skipped_pictures_are_told_in_log_and_artifact(tmp_path: Path) -> None:
    """One broken JPEG killed a run at its turn, one picture per run."""
    classes_in(tmp_path / "pictures", 40)
    for number in (3, 5):
        (tmp_path / f"pictures/cat/{number}.png").write_bytes(b"broken")
    own = {"name": "image-folder", "uri": (tmp_path / "pictures").as_uri()}
    recipe = {"epochs": 2, "globalBatchSize": 16, "dataset": own, "dataWorkers": 1}
    said = jobs.refused(tmp_path, **recipe)
    assert "set dataset.onBadSample: Skip" in said.splitlines()[-1]
    said = runs.run(tmp_path, "ddp", 2, **{**recipe, "dataset": {**own, "onBadSample": "Skip"}})
    assert "2 samples were skipped" in said
    assert "data: one fifth of each class held out" in said
    assert "data: 2 classes: cat 32, dog 32" in said
    assert json.loads((tmp_path / "model/skipped.json").read_text())["count"] == 2
    load_model(tmp_path / "model")


def test_skipped_samples_are_counted_in_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    from workloads.train.telemetry import progress_reporter

    posts: list[Any] = []
    monkeypatch.setattr(progress_reporter.Poster, "update", lambda _self, snapshot: posts.append(snapshot.metrics))
    report = progress_reporter.Report(first=True, total_steps=4, steps_per_epoch=2, batch=8)
    for count in (0, 3):
        report.skipped(count)
        report.epoch(2, 1.0, Figures({}, "", 0.0), {})
    assert [post.get("samples_skipped") for post in posts] == [None, 3.0]


def test_many_broken_pictures_are_no_exception(tmp_path: Path) -> None:
    classes_in(tmp_path, 20)
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"broken")
    picture(tmp_path / "cat/0.png")
    found = opened("image-folder", tmp_path, onBadSample="Skip")
    with pytest.raises(BadInput, match="more than 10 pictures cannot be decoded"):
        found.training.batch(range(len(found.training)))


def test_a_disks_fault_is_no_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes_in(tmp_path)
    found = opened("image-folder", tmp_path, onBadSample="Skip")

    def stale(*_arguments: Any) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Image, "open", stale)
    with pytest.raises(Unavailable, match="Stale file handle"):
        found.training.batch([0])


def test_the_size_of_pictures_is_a_field_and_told(tmp_path: Path) -> None:
    classes_in(tmp_path)
    assert opened("image-folder", tmp_path).taken[-1] == "16 x 16 pixels, each as a whole"
    large = opened("image-folder", tmp_path, imageSize=96)
    assert large.taken[-1] == "96 x 96 pixels, the middle of each"
    assert large.training.batch([0])[0].shape == (1, 3, 96, 96)


def test_evaluation_has_a_limit_of_its_own(tmp_path: Path) -> None:
    classes_in(tmp_path, 20)
    found = opened("image-folder", tmp_path, evaluationLimit=3)
    assert (len(found.held_out), found.reference.held_out_samples, len(found.training)) == (3, 3, 32)


def arrow(path: Path, left: bool, shade: int) -> None:
    pixels = np.full((16, 16), 255 - shade, np.uint8)
    for row in range(16):
        reach = 8 - abs(8 - row)
        pixels[row, max(0, 15 - 2 * reach) if left else 0 : 16 if left else 2 * reach + 1] = shade
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(("mirror", "low", "high"), [(None, 0.95, 1.0), (True, 0.0, 0.8)])
def test_left_and_right_can_be_told_apart(tmp_path: Path, mirror: bool | None, low: float, high: float) -> None:
    """Mirroring could not be switched off: left and right arrows were learned to 0.500 on held-out pictures."""
    for shade in range(60):
        arrow(tmp_path / f"arrows/left/{shade}.png", True, shade)
        arrow(tmp_path / f"arrows/right/{shade}.png", False, shade)
    recipe: dict[str, Any] = {
        "epochs": 8, "globalBatchSize": 16, "model": {"name": "cnn", "width": 8},
        "dataset": {"name": "image-folder", "uri": (tmp_path / "arrows").as_uri()},
    }  # fmt: skip
    more = {} if mirror is None else {"augmentation": {"mirror": mirror}}
    said = runs.run(tmp_path, "single", 1, **recipe, **more)
    assert ("mirrored at random" in said) is bool(mirror)
    assert low <= runs.history(tmp_path)[-1]["accuracy"] <= high


def test_augmentation_is_held_to_the_data(tmp_path: Path) -> None:
    from slipway.api.training.recipe import Augmentation

    classes_in(tmp_path)
    found = opened("image-folder", tmp_path)
    changed = augmented(found, Augmentation(mirror=True, shift=0.0))
    assert (changed.augmentation.flip, changed.augmentation.shift) == (True, 0)
    assert augmented(found, Augmentation()).augmentation == found.augmentation
    with pytest.raises(BadInput, match="scale is for pictures with boxes"):
        augmented(found, Augmentation(scale=0.2))
    (tmp_path / "a.txt").write_text("word " * 200)
    text = text_files.load(choice("text-files", tmp_path / "a.txt"))
    with pytest.raises(BadInput, match="the data set holds text"):
        augmented(text, Augmentation(mirror=False))


def test_boxes_in_the_layout_of_labelling_services(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("valid", 2)):
        for number in range(count):
            picture(tmp_path / part / "images" / f"{number}.png")
            label = tmp_path / part / "labels" / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [thing]\ntrain: ../train/images\n")
    found = opened("yolo-folder", tmp_path, imageSize=64)
    assert (len(found.training), len(found.held_out)) == (4, 2)
    assert found.training.batch([0])[1][0, 0].tolist() == [0.0, 32.0, 32.0, 32.0, 32.0]
    assert not found.augmentation.flip


def test_a_resumed_run_over_broken_pictures_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    classes_in(tmp_path / "pictures", 40)
    (tmp_path / "pictures/cat/3.png").write_bytes(b"broken")
    own = {"name": "image-folder", "uri": (tmp_path / "pictures").as_uri(), "onBadSample": "Skip"}
    jobs.resumed_ends_as_undisturbed(tmp_path, "single", 1, epochs=2, globalBatchSize=16, dataset=own)
