"""A folder of pictures, one subfolder per class: `train/` and `val/` (or `test/`) above the classes, or one fifth is
held out.

Pictures are decoded as they are asked for. All get one size: 224 pixels, or, when the first picture is at most 64
pixels on its shorter side, that picture's size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from slipway.api.artifact import DatasetReference, FileDigest, Preprocessing
from workloads import storage
from workloads.data import Augmentation, DataSet, Images, Subset, stratified_split
from workloads.errors import BadInput, Corrupt
from workloads.pictures import ERRORS, SIDEWAYS, orientation
from workloads.preprocess import prepare

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
HELD_OUT = 0.2
SMALL = 64
SIZE, RESIZE = 224, 256
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SHIFT_SHARE = 8  # training images are shifted by up to an eighth of their size
HASHED = 512 << 20  # bytes; a larger data set is identified by its files' names and sizes


@dataclass(frozen=True)
class Pictures:
    """Files with their classes, decoded on demand."""

    paths: tuple[Path, ...]
    labels: "npt.NDArray[np.int64]"
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]":
        """uint8 [n, 3, height, width] and int64 [n]. Corrupt names the picture that cannot be decoded."""
        pixels = [self._decode(self.paths[index]) for index in indices]
        shape = (0, self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width)
        return (np.stack(pixels) if pixels else np.empty(shape, np.uint8)), self.labels[
            np.asarray(indices, dtype=np.int64)
        ]

    def _decode(self, path: Path) -> "npt.NDArray[np.uint8]":
        try:
            with Image.open(path) as image:
                return prepare(image, self.preprocessing)
        except ERRORS as error:
            raise Corrupt(f"{path}: this picture cannot be decoded ({error})") from error


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path, labels: Sequence[str]) -> tuple[list[Path], "npt.NDArray[np.int64]"]:
    paths: list[Path] = []
    classes: list[int] = []
    for number, label in enumerate(labels):
        found = sorted(path for path in (folder / label).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise BadInput(f"{folder / label}: no pictures of this class")
        paths += found
        classes += [number] * len(found)
    return paths, np.asarray(classes, dtype=np.int64)


def _size(path: Path) -> Preprocessing:
    try:
        with Image.open(path) as image:
            width, height = image.size if orientation(image) not in SIDEWAYS else image.size[::-1]
    except ERRORS as error:
        raise Corrupt(f"{path}: this picture cannot be decoded ({error})") from error
    if min(width, height) <= SMALL:
        return Preprocessing(channels=3, height=height, width=width, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Preprocessing(channels=3, height=SIZE, width=SIZE, resize=RESIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def identity(root: Path, paths: list[Path]) -> tuple[str, Literal["content", "listing"]]:
    """Digest of a data set's files, and what it covers."""
    if sum(path.stat().st_size for path in paths) <= HASHED:
        files = [
            FileDigest(path=path.relative_to(root).as_posix(), size=path.stat().st_size, digest=storage.sha256_of(path))
            for path in paths
        ]
        return storage.tree_digest(files), "content"
    names = sorted(f"{path.stat().st_size}  {path.relative_to(root).as_posix()}\n" for path in paths)
    return f"sha256:{hashlib.sha256(''.join(names).encode()).hexdigest()}", "listing"


def _split(root: Path) -> tuple[list[str], list[Path], Images, Images, Preprocessing]:
    held_out_folder = next((root / name for name in ("val", "valid", "test") if (root / name).is_dir()), None)
    if (root / "train").is_dir() and held_out_folder is not None:
        labels = _classes(root / "train")
        if labels != _classes(held_out_folder):
            raise BadInput(f"{root}: train/ and {held_out_folder.name}/ do not hold the same classes")
        paths, classes = _pictures(root / "train", labels)
        held_paths, held_classes = _pictures(held_out_folder, labels)
        size = _size(paths[0])
        held: Images = Pictures(tuple(held_paths), held_classes, size)
        return labels, [*paths, *held_paths], Pictures(tuple(paths), classes, size), held, size
    labels = _classes(root)
    if len(labels) < 2:
        raise BadInput(f"{root}: expected one subfolder per class, found {labels}")
    paths, classes = _pictures(root, labels)
    size = _size(paths[0])
    whole = Pictures(tuple(paths), classes, size)
    training, kept = stratified_split(classes, HELD_OUT)
    return labels, paths, Subset(whole, training), Subset(whole, kept), size


def load(uri: str | None) -> DataSet:
    """The pictures of the folder at `uri`."""
    if uri is None:
        raise BadInput("the data set image-folder is read from a path: set dataset.uri")
    root = storage.fetch(uri)
    if not root.is_dir():
        raise BadInput(f"{uri}: not a folder")
    labels, paths, training, held_out, size = _split(root)
    digest, covers = identity(root, paths)
    return DataSet(
        training=training,
        held_out=held_out,
        labels=tuple(labels),
        preprocessing=size,
        augmentation=Augmentation(flip=True, shift=max(1, size.height // SHIFT_SHARE)),
        reference=DatasetReference(
            name="image-folder",
            uri=uri,
            digest=digest,
            covers=covers,
            training_samples=len(training),
            held_out_samples=len(held_out),
        ),
    )
