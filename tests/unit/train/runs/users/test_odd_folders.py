"""Folders as strangers have them: links, pipes, rights, names, pictures twice. Nothing is lost without a word."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway.api.common.sources import DatasetChoice
from workloads import data
from workloads.data.files_below import files_below
from workloads.errors import BadInput


def opened(path: Path, name: str = "image-folder", **more: Any) -> Any:
    fields = {"name": name, "uri": path.as_uri(), "sequenceLength": 8, **more}
    return data.open_set(DatasetChoice.model_validate(fields))


def picture(path: Path, grey: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey,) * 3).save(path)


def classes_in(folder: Path, count: int = 6, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for number in range(count):
        for place, name in enumerate(names):
            picture(folder / name / f"{number}.png", 100 * place)
    return folder


def whole(found: Any) -> None:
    """Read every sample."""
    found.training.batch(range(len(found.training)))
    found.held_out.batch(range(len(found.held_out)))


def total(found: Any) -> int:
    return len(found.training) + len(found.held_out)


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    """A pipe named like a picture was opened, and the run waited for ever."""
    os.mkfifo(classes_in(tmp_path) / "cat/pipe.png")
    assert total(opened(tmp_path)) == 12


@pytest.mark.parametrize("uri", ["/dev/zero", "pipe.txt"])
def test_a_device_or_pipe_is_no_data_set(tmp_path: Path, uri: str) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(BadInput, match="neither a file nor a folder, but a pipe, a device or a socket"):
        opened(tmp_path / uri, "text-files")


def test_a_link_to_the_folder_above_makes_no_dog_a_cat(tmp_path: Path) -> None:
    (classes_in(tmp_path) / "cat/all").symlink_to(tmp_path)
    assert total(opened(tmp_path)) == 12


def test_a_link_to_nowhere_is_a_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    (classes_in(tmp_path) / "cat/0a.png").symlink_to("/nowhere")
    found = opened(tmp_path)
    with pytest.raises(BadInput, match=r"0a.png: this picture cannot be decoded"):
        whole(found)
    skipping = opened(tmp_path, onBadSample="Skip")
    whole(skipping)
    assert {Path(name).name for name in skipping.bad.names()} == {"0a.png"}


@pytest.mark.parametrize(
    ("name", "file"), [("text-files", "b.txt"), ("text-table", "b.csv"), ("hugging-face", "b.csv")]
)
def test_a_link_to_nowhere_is_no_smaller_data_set(tmp_path: Path, name: str, file: str) -> None:
    """A link to nowhere was left out, and what it should have brought was missing, without a word."""
    (tmp_path / f"a{file[1:]}").write_text("text,label\n" + "word word,good\nother,bad\n" * 40)
    (tmp_path / file).symlink_to("/nowhere")
    if name == "hugging-face":
        pytest.importorskip("datasets")
    with pytest.raises(BadInput, match="this link leads to nowhere"):
        opened(tmp_path, name)


def test_linked_folders_of_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/b.txt").write_text("word " * 200)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("word " * 200)
    (tmp_path / "data/more").symlink_to(tmp_path / "store")
    assert opened(tmp_path / "data", "text-files").taken[0] == "2 of 2 files used"


def test_a_folder_without_rights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left out, and half of the data with it. The system's refusal is made here: root may read everything."""
    classes_in(tmp_path)
    listing = os.scandir

    def refusing(path: Any = ".") -> Any:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(BadInput, match=r"dog: this folder cannot be read \(Permission denied\): set its rights"):
        files_below(tmp_path, lambda name: name.endswith(".png"))


@pytest.mark.parametrize("place", ["cat", "."])
def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path, place: str) -> None:
    content = (classes_in(tmp_path) / "cat/0.png").read_bytes()
    folder = os.fsencode(tmp_path / place)
    if place == ".":
        folder += b"/\xfc"
        Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder + b"/\xfcber.png")).write_bytes(content)
    with pytest.raises(BadInput, match=r"the name '.*xfc.*' is not UTF-8: rename it"):
        opened(tmp_path)


def test_where_nothing_can_be_held_out_it_is_told(tmp_path: Path) -> None:
    """Two classes of one picture each: the run ended in an IndexError."""
    with pytest.raises(BadInput, match=r"2 samples, and none of them can be held out"):
        opened(classes_in(tmp_path, 1))


def test_a_strip_of_pixels_does_not_say_how_large_all_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(3):
            picture(tmp_path / name / f"{number}.png", number, (5000, 1))
    with pytest.raises(BadInput, match=r"5000 x 1 pixels, and it says how large all are: set dataset.imageSize"):
        opened(tmp_path)


def test_pictures_that_are_not_used_are_counted(tmp_path: Path) -> None:
    picture(classes_in(tmp_path) / "loose.png")
    assert opened(tmp_path).taken[-1] == "1 pictures beside the folders of the classes are not used"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: classes_in(root / "dataset"), "if the data are in dataset/, name that folder"),
        (lambda root: picture(root / "1.png"), "pictures beside each other need metadata.csv"),
        (
            lambda root: (classes_in(root / "train"), classes_in(root / "val", names=("cat",))),
            "do not hold the same classes: dog is in one of them alone",
        ),
    ],
)
def test_folders_one_level_off_are_told_what_to_do(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path)
    with pytest.raises(BadInput, match=words):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0.png,a\n0.png,b\n", "0.png is in two rows with different labels"),
        ("0.png,a\n0.png,a\n", "0.png is in two rows, and would be trained on and held out"),
    ],
)
def test_a_picture_twice_in_a_table_is_told(tmp_path: Path, rows: str, words: str) -> None:
    for number in range(10):
        picture(tmp_path / f"{number}.png", number)
    more = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(1, 10))
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n{rows}{more}")
    with pytest.raises(BadInput, match=words):
        opened(tmp_path)


@pytest.mark.parametrize("names", ["names: 3\n", "names: {a: x, 1: y}\n", "names\n", b"names: [\xff]\n"])
def test_names_of_boxes_that_are_none(tmp_path: Path, names: str | bytes) -> None:
    picture(tmp_path / "images/0.png")
    (tmp_path / "data.yaml").write_bytes(names if isinstance(names, bytes) else names.encode())
    with pytest.raises(BadInput, match="there are no `names` of classes in it"):
        opened(tmp_path, "yolo-folder")


def test_boxes_of_another_system(tmp_path: Path) -> None:
    """A mark before classes.txt became a part of the first class's name; Latin-1 in a text was a traceback."""
    for number in range(6):
        picture(tmp_path / f"images/{number}.png", number)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{number}.txt").write_bytes("\ufeff0 0.5 0.5 0.2 0.2\r\n".encode())
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\ndog\r\n".encode())
    assert opened(tmp_path, "yolo-folder").labels == ("cat", "dog")
    (tmp_path / "labels/3.txt").write_bytes(b"0 0.5 0.5 0.2 0.2\nK\xfche")
    with pytest.raises(BadInput, match="line 2 is not UTF-8"):
        opened(tmp_path, "yolo-folder")


def test_links_of_a_config_map_are_read_once(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap as links through a hidden folder."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026/a.txt").write_text("word " * 200)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.txt").symlink_to("..data/a.txt")
    assert opened(tmp_path, "text-files").taken[0] == "1 of 1 files used"
    assert np.all(opened(tmp_path, "text-files").training.batch([0])[0] < 256)
