"""A folder of pictures with boxes as YOLO's trainers read it: `images/` and, beside it, `labels/` with a text for each.

Below both, `train/` and `val/` (or `test/`), or one fifth of the pictures is held out. A line of a text is a class's
number, then centre x and y, width and height of a box as shares of the picture; a picture without objects has an empty
text or none. Names of the classes: `data.yaml` (`names`), or `classes.txt` with one per line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from slipway.api.artifact import DatasetReference, Preprocessing
from workloads import storage
from workloads.data import Augmentation, stratified_split
from workloads.data.boxes import BoxSet, padded
from workloads.data.image_folder import HELD_OUT, IMAGENET_MEAN, IMAGENET_STD, SUFFIXES, Pictures, identity
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

SIZE = 320  # pixels of both sides; pictures are scaled to it whole, and their boxes with them


@dataclass(frozen=True)
class BoxedPictures:
    """Files with their boxes, decoded on demand."""

    pictures: Pictures
    boxes: "tuple[npt.NDArray[np.float32], ...]"
    most: int

    def __len__(self) -> int:
        return len(self.boxes)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]":
        """As `Boxed` says."""
        return self.pictures.batch(indices)[0], padded([self.boxes[index] for index in indices], self.most)


def _names(root: Path) -> tuple[str, ...]:
    listed, described = root / "classes.txt", root / "data.yaml"
    if described.is_file():
        try:
            names = yaml.safe_load(described.read_text())["names"]
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise BadInput(f"{described}: there are no `names` of classes in it ({error})") from error
        values = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
        return tuple(str(name) for name in values)
    if listed.is_file():
        return tuple(line.strip() for line in listed.read_text().splitlines() if line.strip())
    raise BadInput(f"{root}: neither data.yaml nor classes.txt names the classes")


def _boxes(path: Path, classes: int) -> "npt.NDArray[np.float32]":
    """Rows [k, 5] in pixels. BadInput names the line that makes no sense."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
        if not line.strip():
            continue
        try:
            kind, *shares = (float(word) for word in line.split())
        except ValueError as error:
            raise BadInput(f"{path}:{number}: not numbers: {line[:80]!r}") from error
        if len(shares) != 4 or kind not in range(classes) or not all(0 <= share <= 1 for share in shares):
            raise BadInput(
                f"{path}:{number}: expected a class below {classes} and four shares from 0 to 1: {line[:80]!r}"
            )
        rows.append([kind, *(share * SIZE for share in shares)])
    return np.asarray(rows, dtype=np.float32).reshape(-1, 5)


def _part(root: Path, name: str, classes: int) -> tuple[list[Path], "list[npt.NDArray[np.float32]]"]:
    folder = root / "images" / name
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise BadInput(f"{folder}: no pictures")
    texts = [(root / "labels" / path.relative_to(root / "images")).with_suffix(".txt") for path in paths]
    return paths, [_boxes(text, classes) for text in texts]


def load(uri: str | None) -> BoxSet:
    """The pictures of the folder at `uri`."""
    if uri is None:
        raise BadInput("the data set yolo-folder is read from a path: set dataset.uri")
    root = storage.fetch(uri)
    if not (root / "images").is_dir():
        raise BadInput(f"{uri}: there is no folder images/ in it")
    names = _names(root)
    held = next((name for name in ("val", "valid", "test") if (root / "images" / name).is_dir()), None)
    if held is not None and (root / "images/train").is_dir():
        paths, boxes = _part(root, "train", len(names))
        held_paths, held_boxes = _part(root, held, len(names))
    else:
        every, rows = _part(root, "", len(names))
        kept, out = stratified_split(np.zeros(len(every), np.int64), HELD_OUT)
        paths, boxes = [every[i] for i in kept], [rows[i] for i in kept]
        held_paths, held_boxes = [every[i] for i in out], [rows[i] for i in out]
    if not any(len(rows) for rows in boxes):
        raise BadInput(f"{uri}: no training picture has a box: are the texts in labels/, beside images/?")
    size = Preprocessing(channels=3, height=SIZE, width=SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    most = max(1, *(len(rows) for rows in (*boxes, *held_boxes)))

    def boxed(files: list[Path], rows: "list[npt.NDArray[np.float32]]") -> BoxedPictures:
        return BoxedPictures(Pictures(tuple(files), np.zeros(len(files), np.int64), size), tuple(rows), most)

    texts = sorted((root / "labels").rglob("*.txt"))
    digest, covers = identity(root, [*paths, *held_paths, *texts])
    return BoxSet(
        training=boxed(paths, boxes),  # type: ignore[arg-type]
        held_out=boxed(held_paths, held_boxes),  # type: ignore[arg-type]
        labels=names,
        preprocessing=size,
        augmentation=Augmentation(flip=True, scale=0.25),
        reference=DatasetReference(
            name="yolo-folder",
            uri=uri,
            digest=digest,
            covers=covers,
            training_samples=len(paths),
            held_out_samples=len(held_paths),
        ),
    )
