"""A folder of pictures, one subfolder per class: below folders named as splits are, or one fifth is held out.

With metadata.csv beside the pictures see picture_table.py. Pictures are decoded as they are asked for. All get one
size: dataset.imageSize, else 224 pixels, or, when the first picture is at most 64 pixels on its shorter side, that
picture's size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from slipway.api.common.artifact import DatasetReference, FileDigest, Preprocessing
from slipway.api.common.sources import DatasetChoice
from workloads import storage
from workloads.data import splits
from workloads.data.bad_samples import BadSamples
from workloads.data.datasets import Augmentation, DataSet, Images, Subset, counted, stratified_split
from workloads.data.files_below import files_below, is_stray, require_no_arrays
from workloads.errors import BadInput
from workloads.vision.decoding import ERRORS, SIDEWAYS, orientation
from workloads.vision.preprocessing import prepare

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
HELD_OUT = 0.2
SMALL = 64
SIZE, RESIZE = 224, 256
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SHIFT_SHARE = 8  # training images are shifted by up to an eighth of their size
LONGEST = 4096
HASHED = 512 << 20  # bytes; a larger data set is identified by its files' names and sizes


@dataclass(frozen=True)
class Pictures:
    """Files with their classes, decoded on demand."""

    paths: tuple[Path, ...]
    labels: "npt.NDArray[Any]"
    preprocessing: Preprocessing
    bad: BadSamples = field(default_factory=BadSamples)

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]":
        """uint8 [n, 3, height, width], and int64 [n] or what else a picture's table says.

        BadInput names the picture that cannot be decoded.
        """
        pixels, used = self.decoded(indices)
        return pixels, self.labels[used]

    def decoded(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]":
        """The pictures, and their indices: in place of one that is bad, and may be skipped, comes the next good one."""
        found = [self._next(int(index)) for index in indices]
        shape = (0, self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width)
        pixels = np.stack([picture for picture, _ in found]) if found else np.empty(shape, np.uint8)
        return pixels, np.asarray([index for _, index in found], dtype=np.int64)

    def _next(self, index: int) -> "tuple[npt.NDArray[np.uint8], int]":
        while True:
            try:
                with Image.open(self.paths[index]) as image:
                    return prepare(image, self.preprocessing), index
            except ERRORS as error:
                self.bad.found(str(self.paths[index]), error)
                index = (index + 1) % len(self.paths)


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_stray(entry.name))


def require_folder(root: Path, uri: str | None) -> None:
    """BadInput for what is no folder; for an archive with what to do. Nothing is unpacked here.

    A member's path may lead out of the folder, and a small archive may fill the disk.
    """
    if root.is_dir():
        return
    require_no_arrays(root, uri)
    packed = [suffix for suffix in root.suffixes if suffix in ARCHIVES]
    if packed:
        raise BadInput(f"{uri}: an archive ({packed[-1]}): unpack it, and name the folder")
    raise BadInput(f"{uri}: not a folder")


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and below, sorted. A link to nowhere is one that cannot be decoded.

    Macs leave `._cat.jpg` beside each cat.jpg, and `__MACOSX` in archives: neither is a picture.
    """
    return files_below(folder, _is_picture, lost_links=True)


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _pictures(folder: Path, labels: Sequence[str]) -> tuple[list[Path], "npt.NDArray[np.int64]"]:
    paths: list[Path] = []
    classes: list[int] = []
    for number, label in enumerate(labels):
        found = pictures_below(folder / label)
        if not found:
            raise BadInput(
                f"{folder / label}: no pictures of this class ({', '.join(sorted(SUFFIXES))}): fill the folder, remove "
                "it, or hide it by a dot before its name"
            )
        paths += found
        classes += [number] * len(found)
    return paths, np.asarray(classes, dtype=np.int64)


def size_of(path: Path, wanted: int | None) -> Preprocessing:
    """Size of all pictures: as the job says, or by the first one. BadInput where that cannot be decoded."""
    if wanted is not None:
        # A small picture is taken whole; of a larger one the middle, as of 224 pixels of 256.
        resize = None if wanted <= SMALL else wanted * RESIZE // SIZE
        return Preprocessing(
            channels=3, height=wanted, width=wanted, resize=resize, mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
    try:
        with Image.open(path) as image:
            width, height = image.size if orientation(image) not in SIDEWAYS else image.size[::-1]
    except ERRORS as error:
        remedy = "it says how large all of them are: replace it, or set dataset.imageSize"
        raise BadInput(f"{path}: this picture cannot be decoded ({error}), and {remedy}") from error
    if min(width, height) <= SMALL:
        if max(width, height) > LONGEST:
            raise BadInput(f"{path}: {width} x {height} pixels, and it says how large all are: set dataset.imageSize")
        return Preprocessing(channels=3, height=height, width=width, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Preprocessing(channels=3, height=SIZE, width=SIZE, resize=RESIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def identity(root: Path, paths: list[Path]) -> tuple[str, Literal["content", "listing"]]:
    """Digest of a data set's files, and what it covers."""
    sizes = {path: path.stat().st_size for path in paths if path.exists()}  # a link to nowhere is told when it is read
    if sum(sizes.values()) <= HASHED:
        files = [
            FileDigest(path=storage.name_below(root, path), size=size, digest=storage.sha256_of(path))
            for path, size in sizes.items()
        ]
        return storage.tree_digest(files), "content"
    names = sorted(f"{size}  {storage.name_below(root, path)}\n" for path, size in sizes.items())
    return f"sha256:{hashlib.sha256(''.join(names).encode()).hexdigest()}", "listing"


def parts_of(root: Path, choice: DatasetChoice) -> splits.Parts | None:
    """Splits among the subfolders; None where there are none, as where the subfolders are classes.

    A split holds folders of classes itself.
    """
    names = _folders(root)
    found = splits.chosen_parts(choice, names, str(root))
    if found is not None or (choice.splits is not None and choice.splits.ignore):
        return found if choice.splits is not None and not choice.splits.ignore else None
    kinds = [splits.kind_of(name) for name in names]
    found = splits.by_name(names, kinds)
    if found is None and -1 in kinds and len(names) == 1:
        return splits.Parts(tuple(names), ())
    return found


def _split(root: Path, choice: DatasetChoice) -> DataSet:
    parts = parts_of(root, choice)
    if parts is not None and not all(_folders(root / name) for name in (*parts.training, *parts.held_out)):
        if choice.splits is not None or set(_folders(root)) == {*parts.training, *parts.held_out}:
            raise BadInput(
                f"{root}: {', '.join((*parts.training, *parts.held_out))} are named as splits and hold no folders of "
                "classes: put one folder per class into each, or set dataset.splits.ignore if they are the classes"
            )
        parts = None  # a class of trains, say, among others
    folders = [root / name for name in (parts.training if parts is not None else ("",))]
    held_folders = [root / name for name in (parts.held_out if parts is not None else ())]
    labels = sorted({label for folder in folders for label in _folders(folder)})
    for label in labels:
        storage.name_below(root, root / label)
    for folder in held_folders:
        if labels != _folders(folder):
            other = sorted({*labels} ^ {*_folders(folder)})
            raise BadInput(
                f"{root}: {folders[0].name}/ and {folder.name}/ do not hold the same classes: {', '.join(other[:3])} "
                "is in one of them alone"
            )
    if len(labels) < (2 if parts is None else 1):
        raise BadInput(f"{root}: expected one subfolder per class, found {labels}{_advice(root, labels)}")
    return _set(root, choice, labels, (folders, held_folders), parts.words if parts is not None else "")


def _advice(root: Path, labels: list[str]) -> str:
    """Advice for a folder that holds another folder with the data, or pictures without classes; else nothing."""
    if len(labels) == 1 and _folders(root / labels[0]):
        return f": if the data are in {labels[0]}/, name that folder"
    if any(_is_picture(path.name) for path in root.iterdir()):
        return ": pictures beside each other need metadata.csv with the columns file_name and label"
    return ""


def _beside(folders: Sequence[Path]) -> tuple[str, ...]:
    """Pictures that are in no folder of a class, in words; nothing where there are none."""
    count = sum(_is_picture(path.name) and not is_stray(path.name) for folder in folders for path in folder.iterdir())
    return (f"{count} pictures beside the folders of the classes are not used",) if count else ()


def _set(
    root: Path, choice: DatasetChoice, labels: list[str], folders: tuple[list[Path], list[Path]], words: str
) -> DataSet:
    found = [[_pictures(folder, labels) for folder in part] for part in folders]
    paths = [[path for some, _ in part for path in some] for part in found]
    size = size_of(paths[0][0], choice.image_size)
    bad = BadSamples(choice.on_bad_sample, sum(map(len, paths)))
    classes = [np.concatenate([one for _, one in part]) if part else np.empty(0, np.int64) for part in found]
    whole = [Pictures(tuple(some), own, size, bad) for some, own in zip(paths, classes, strict=True)]
    training: Images = whole[0]
    held_out: Images = whole[1]
    if not paths[1]:
        kept, out = stratified_split(classes[0], HELD_OUT)
        training, held_out, classes[0] = Subset(whole[0], kept), Subset(whole[0], out), classes[0][kept]
    digest, covers = identity(root, [*paths[0], *paths[1]])
    shape = f"{size.height} x {size.width} pixels, " + ("the middle of each" if size.resize else "each as a whole")
    return DataSet(
        training=training,
        held_out=held_out,
        labels=tuple(labels),
        preprocessing=size,
        # No mirroring: nobody knows whether a class is another one's mirror image.
        augmentation=Augmentation(shift=max(1, size.height // SHIFT_SHARE)),
        reference=DatasetReference(
            name="image-folder",
            uri=choice.uri,
            digest=digest,
            covers=covers,
            training_samples=len(training),
            held_out_samples=len(held_out),
        ),
        taken=(
            words or "one fifth of each class held out",
            counted([labels[one] for one in classes[0]]),
            shape,
            *_beside([folder for part in folders for folder in part]),
        ),
        bad=bad,
    )


def load(choice: DatasetChoice) -> DataSet:
    """The pictures of the folder at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    require_folder(root, choice.uri)
    shards = [path.name for path in root.iterdir() if path.suffix.lower() == ".tar"]
    if shards and not _folders(root):
        raise BadInput(f"{choice.uri}: shards of WebDataset ({min(shards)}): unpack them into a folder per class")
    if choice.columns is not None:
        raise BadInput(f"{choice.uri}: dataset.columns are of metadata.csv, which is not there: remove them")
    return _split(root, choice)
