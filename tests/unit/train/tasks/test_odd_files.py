"""Users' odd files: stray ones, links, archives, tables that say something else than they seem to."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import data
from workloads.errors import BadInput


def choice(name: str, path: Path, **fields: Any) -> DatasetChoice:
    return DatasetChoice.model_validate({"name": name, "uri": path.as_uri(), **fields})


def classes(root: Path, names: tuple[str, ...] = ("hund", "kätzchen 🐈"), count: int = 5) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name / f"bild {number}.PNG")


def test_stray_files_are_none_of_the_data(tmp_path: Path) -> None:
    """Macs' ._ files end in .jpg and are no pictures: the run was refused for them."""
    classes(tmp_path)
    for stray in (".DS_Store", "Thumbs.db", "hund/Thumbs.db", "hund/._bild 0.PNG", "hund/notes.txt"):
        (tmp_path / stray).write_bytes(b"stray")
    for folder in ("__MACOSX", ".ipynb_checkpoints", "@eaDir"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hund/folder.png").mkdir()
    found = data.load(choice("image-folder", tmp_path))
    assert found.labels == ("hund", "kätzchen 🐈")
    assert len(found.training) + len(found.held_out) == 10
    found.training.batch(range(len(found.training)))


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    classes(tmp_path / "store", ("cats", "dogs"))
    root = tmp_path / "data"
    (root / "cat").mkdir(parents=True)
    (root / "cat/linked").symlink_to(tmp_path / "store/cats")
    (root / "dog").symlink_to(tmp_path / "store/dogs")
    (tmp_path / "store/cats/up").symlink_to(tmp_path / "store/cats")
    found = data.load(choice("image-folder", root))
    assert len(found.training) + len(found.held_out) == 10


def test_an_empty_class_is_named_with_what_to_do(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty: no pictures of this class .*fill the folder, remove it, or hide it"):
        data.load(choice("image-folder", tmp_path))


@pytest.mark.parametrize("name", ["image-folder", "mask-folder", "yolo-folder"])
def test_an_archive_is_refused_and_not_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../../escaped.png", b"x")
    with pytest.raises(BadInput, match=r"an archive \(.zip\): unpack it"):
        data.open_set(choice(name, path))
    assert not (tmp_path.parent.parent / "escaped.png").exists()


def test_shards_of_webdataset_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "shard-000.tar").write_bytes(b"")
    with pytest.raises(BadInput, match=r"shards of WebDataset .*unpack them into a folder per class"):
        data.open_set(choice("image-folder", tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,label\nI like it, really,good\nbad one,bad\n", "row 1 with more values than the 2 columns: put texts"),
        ("text,label,label\na,b,c\n", "the column label is there 2 times"),
        ('text,label\n"never closed,good\nb,bad\n', "after line 1: not a table"),
    ],
)
def test_a_table_that_would_be_read_as_something_else(tmp_path: Path, content: str, words: str) -> None:
    """An unquoted comma made " really" a class, and the rest of the text was lost."""
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(BadInput, match=words):
        data.open_set(choice("text-table", path))


def test_a_trailing_separator_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"t{n},{'ab'[n % 2]},\n" for n in range(20)))
    assert data.open_set(choice("text-table", path)).labels == ("a", "b")


def test_a_broken_parquet_table_is_refused_in_words(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 cut")
    with pytest.raises(BadInput, match="not a whole Parquet file"):
        data.open_set(choice("text-table", path))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("../../etc/passwd.png,1\n", "leads out of the folder"),
        ("/etc/a.png,1\n", "leads out of the folder"),
        ("absent.png,1\n", "there is no absent.png beside it: paths are relative"),
    ],
)
def test_a_table_of_pictures_names_only_its_own(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n{rows}")
    with pytest.raises(BadInput, match=words):
        data.open_set(choice("image-folder", tmp_path), TrainingTask.REGRESSION)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("colours", "this mask has colours .RGB., and colours are no classes"),
        ("size", "pixels, and its picture has"),
        ("missing", "there is no mask for images/1.png: it has the picture's name"),
        ("class", "a pixel is of class 7, and there are 2 classes"),
        ("names", "there is no classes.txt"),
        ("folder", "there is no folder masks/ beside images/"),
    ],
)
def test_masks_that_are_none_are_refused_in_words(tmp_path: Path, make: str, words: str) -> None:
    for name in ("images", "other" if make == "folder" else "masks"):
        (tmp_path / name).mkdir()
    if make != "names":
        (tmp_path / "classes.txt").write_text("ground\nthing\n")
    for number in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"images/{number}.png")
        mode, size = ("RGB" if make == "colours" else "L"), ((9, 8) if make == "size" else (8, 8))
        if make != "folder" and not (make == "missing" and number == 1):
            Image.new(mode, size, 7 if make == "class" and mode == "L" else 0).save(tmp_path / f"masks/{number}.png")
    with pytest.raises(BadInput, match=words):
        data.load(choice("mask-folder", tmp_path)).training.batch(range(4))
