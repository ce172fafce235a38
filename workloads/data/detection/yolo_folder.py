"""A folder of pictures with boxes as YOLO's trainers read it: `images/` and, beside it, `labels/` with a text for each.

Below both, or above them, folders named as splits are, or one fifth of the pictures is held out. A line of a text is a
class's number, then centre x and y, width and height of a box as shares of the picture; a picture without objects has
an empty text or none. Names of the classes: `data.yaml` (`names`), or `classes.txt` with one per line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.common.sources import DatasetChoice
from workloads import storage
from workloads.data import splits
from workloads.data.bad_samples import BadSamples
from workloads.data.datasets import Augmentation, counted, stratified_split
from workloads.data.detection.boxes import BoxSet, padded
from workloads.data.files_below import files_below
from workloads.data.images.image_folder import (
    HELD_OUT,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Pictures,
    identity,
    pictures_below,
    require_folder,
)
from workloads.data.texts.table import text_of
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

SIZE = (
    320  # pixels of both sides where the job does not say; pictures are scaled to it whole, and their boxes with them
)


@dataclass(frozen=True)
class BoxedPictures:
    """Files with their boxes, decoded on demand."""

    pictures: Pictures
    boxes: "tuple[npt.NDArray[np.float32], ...]"
    most: int

    def __len__(self) -> int:
        return len(self.boxes)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]":
        """Pictures and padded boxes, in the layout of `Boxed`; the next good picture replaces a skipped one."""
        pixels, used = self.pictures.decoded(indices)
        return pixels, padded([self.boxes[index] for index in used], self.most)


def _is_text(name: str) -> bool:
    return name.endswith(".txt")


def _names(root: Path) -> tuple[str, ...]:
    listed, described = root / "classes.txt", root / "data.yaml"
    if described.is_file():
        try:
            names = yaml.safe_load(described.read_text(encoding="utf-8-sig"))["names"]
            values = [names[key] for key in sorted(names)] if isinstance(names, dict) else list(names)
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise BadInput(f"{described}: there are no `names` of classes in it ({error})") from error
        return tuple(str(name) for name in values)
    if listed.is_file():
        return tuple(line.strip() for line in text_of(listed).splitlines() if line.strip())
    raise BadInput(f"{root}: neither data.yaml nor classes.txt names the classes")


def _boxes(path: Path, classes: int, size: int) -> "npt.NDArray[np.float32]":
    """Rows [k, 5] in pixels. BadInput names the line that makes no sense."""
    rows = []
    for number, line in enumerate(text_of(path).splitlines() if path.is_file() else [], start=1):
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
        rows.append([kind, *(share * size for share in shares)])
    return np.asarray(rows, dtype=np.float32).reshape(-1, 5)


def _part(
    root: Path, names: Sequence[str], classes: int, size: int
) -> tuple[list[Path], "list[npt.NDArray[np.float32]]"]:
    """Pictures and boxes of folders below images/, or of folders that hold images/ and labels/ of their own."""
    paths: list[Path] = []
    rows: list[npt.NDArray[np.float32]] = []
    for name in names:
        own = (root / name / "images").is_dir() and name != ""
        pictures, texts = (
            (root / name / "images", root / name / "labels") if own else (root / "images", root / "labels")
        )
        folder = pictures if own else pictures / name
        found = pictures_below(folder)
        if not found:
            raise BadInput(f"{folder}: no pictures")
        paths += found
        rows += [_boxes((texts / path.relative_to(pictures)).with_suffix(".txt"), classes, size) for path in found]
    return paths, rows


def _parts(root: Path, choice: DatasetChoice) -> splits.Parts | None:
    above = [one.name for one in root.iterdir() if (one / "images").is_dir()] if root.is_dir() else []
    if not (root / "images").is_dir() and not above:
        raise BadInput(f"{choice.uri}: there is no folder images/ in it")
    names = sorted(above) or sorted(one.name for one in (root / "images").iterdir() if one.is_dir())
    if choice.splits is not None and choice.splits.ignore:
        return None
    return splits.chosen_parts(choice, names, str(root)) or splits.by_name(
        names, [splits.kind_of(name) for name in names]
    )


def load(choice: DatasetChoice) -> BoxSet:
    """The pictures of the folder at the choice's uri."""
    root, pixels = storage.fetch(str(choice.uri)), choice.image_size or SIZE
    require_folder(root, choice.uri)
    parts = _parts(root, choice)
    names = _names(root)
    if parts is not None:
        paths, boxes = _part(root, parts.training, len(names), pixels)
        held_paths, held_boxes = _part(root, parts.held_out, len(names), pixels)
    else:
        every, rows = _part(root, [""], len(names), pixels)
        kept, out = stratified_split(np.zeros(len(every), np.int64), HELD_OUT)
        paths, boxes = [every[i] for i in kept], [rows[i] for i in kept]
        held_paths, held_boxes = [every[i] for i in out], [rows[i] for i in out]
    if not any(len(rows) for rows in boxes):
        raise BadInput(f"{choice.uri}: no training picture has a box: are the texts in labels/, beside images/?")
    size = Preprocessing(channels=3, height=pixels, width=pixels, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    most = max(1, *(len(rows) for rows in (*boxes, *held_boxes)))
    bad = BadSamples(choice.on_bad_sample, len(paths) + len(held_paths))

    def boxed(files: list[Path], rows: "list[npt.NDArray[np.float32]]") -> BoxedPictures:
        return BoxedPictures(Pictures(tuple(files), np.zeros(len(files), np.int64), size, bad), tuple(rows), most)

    texts = [path for path in files_below(root, _is_text) if "labels" in path.relative_to(root).parts[:-1]]
    objects = counted([names[int(row[0])] for rows in boxes for row in rows])
    return BoxSet(
        training=boxed(paths, boxes),  # type: ignore[arg-type]
        held_out=boxed(held_paths, held_boxes),  # type: ignore[arg-type]
        labels=names,
        preprocessing=size,
        augmentation=Augmentation(scale=0.25),
        reference=_reference(str(choice.uri), identity(root, [*paths, *held_paths, *texts]), paths, held_paths),
        taken=(parts.words if parts is not None else "one fifth held out", objects, f"{pixels} x {pixels} pixels"),
        bad=bad,
    )


def _reference(
    uri: str, identified: tuple[str, Literal["content", "listing"]], training: Sequence[Path], held_out: Sequence[Path]
) -> DatasetReference:
    digest, covers = identified
    return DatasetReference(
        name="yolo-folder",
        uri=uri,
        digest=digest,
        covers=covers,
        training_samples=len(training),
        held_out_samples=len(held_out),
    )
