"""A folder of pictures with masks: `images/` and, beside it, `masks/` with a picture of the same name for each.

Below both, or above them, folders named as splits are, or one fifth of the pictures is held out. A mask is grey or
has a palette, and a pixel's value is the number of its class; 255 is not learned, as in Pascal VOC. Names of the
classes, in their order, are the lines of `classes.txt`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import storage
from workloads.data import splits
from workloads.data.bad_samples import BadSamples
from workloads.data.datasets import Augmentation, DataSet, stratified_split
from workloads.data.images.image_folder import (
    HELD_OUT,
    SHIFT_SHARE,
    identity,
    pictures_below,
    require_folder,
    size_of,
)
from workloads.errors import BadInput
from workloads.vision.decoding import ERRORS, orientation, upright
from workloads.vision.preprocessing import prepare

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.int64]

IGNORED = -1  # the class of a pixel that is not learned
VOID = 255
FOLDERS = ("masks", "annotations")
LOOKED_AT = 64  # masks that are looked at before the first step
MODES = frozenset({"1", "L", "P", "I", "I;16"})


@dataclass(frozen=True)
class MaskedPictures:
    """Files with their masks, decoded on demand. `above`: the value that stands for class 1 of two."""

    pairs: tuple[tuple[Path, Path], ...]
    preprocessing: Preprocessing
    classes: int
    above: int = 1
    bad: BadSamples = field(default_factory=BadSamples)

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], Mask]":
        """uint8 [n, 3, height, width] and int64 [n, height, width], IGNORED where nothing is learned.

        BadInput names the picture or mask that cannot be read; the next good pair replaces a skipped one.
        """
        found = [self._next(int(index)) for index in indices]
        height, width = self.preprocessing.height, self.preprocessing.width
        if not found:
            return np.empty((0, 3, height, width), np.uint8), np.empty((0, height, width), np.int64)
        return np.stack([picture for picture, _ in found]), np.stack([mask for _, mask in found])

    def _next(self, index: int) -> "tuple[npt.NDArray[np.uint8], Mask]":
        while True:
            path, mask = self.pairs[index]
            try:
                with Image.open(path) as image:
                    turned = orientation(image)
                    pixels = prepare(image, self.preprocessing)
            except ERRORS as error:
                self.bad.found(str(path), error)
                index = (index + 1) % len(self.pairs)
                continue
            try:
                return pixels, self.mask_of(mask, turned)
            except ERRORS as error:
                self.bad.found(str(mask), error)
                index = (index + 1) % len(self.pairs)

    def mask_of(self, path: Path, turned: int = 1) -> "Mask":
        """Classes int64 [height, width] of a mask, turned as its picture is."""
        height, width = self.preprocessing.height, self.preprocessing.width
        with Image.open(path) as image:
            _require_numbers(image, path)
            plain = image.convert("L") if image.mode == "1" else image
            values = np.asarray(upright(plain, turned).resize((width, height), Image.Resampling.NEAREST), np.int64)
        if image.mode == "1" or self.above != 1:
            values = np.where(values > 0, 1, 0)
        values = np.where(values == VOID, IGNORED, values)
        if int(values.max(initial=0)) >= self.classes:
            raise BadInput(
                f"{path}: a pixel is of class {int(values.max())}, and there are {self.classes} classes, from 0 on: "
                "see classes.txt"
            )
        return values


def _require_numbers(image: Image.Image, path: Path) -> None:
    if image.mode not in MODES:
        raise BadInput(
            f"{path}: this mask has colours ({image.mode}), and colours are no classes: save it grey or with a "
            "palette, a pixel's value being the number of its class"
        )


def _pairs(root: Path, name: str) -> list[tuple[Path, Path]]:
    """Pictures and masks of a split's folder, below images/ or above it."""
    own = name != "" and (root / name / "images").is_dir()
    base = root / name if own else root
    masks = next((base / one for one in FOLDERS if (base / one).is_dir()), None)
    if masks is None:
        raise BadInput(f"{base}: there is no folder masks/ beside images/")
    folder = base / "images" if own else root / "images" / name
    paths = pictures_below(folder)
    if not paths:
        raise BadInput(f"{folder}: no pictures")
    known = {path.relative_to(masks).with_suffix(""): path for path in pictures_below(masks)}
    found = [(path, known.get(path.relative_to(base / "images").with_suffix(""))) for path in paths]
    missing = [str(path.relative_to(root)) for path, mask in found if mask is None]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise BadInput(f"{masks}: there is no mask for {', '.join(missing[:3])}{more}: it has the picture's name")
    return [(path, mask) for path, mask in found if mask is not None]


def _parts(root: Path, choice: DatasetChoice) -> splits.Parts | None:
    above = [one.name for one in root.iterdir() if (one / "images").is_dir()]
    if not (root / "images").is_dir() and not above:
        raise BadInput(f"{choice.uri}: there is no folder images/ in it")
    names = sorted(above) or sorted(one.name for one in (root / "images").iterdir() if one.is_dir())
    if choice.splits is not None and choice.splits.ignore:
        return None
    return splits.chosen_parts(choice, names, str(root)) or splits.by_name(
        names, [splits.kind_of(name) for name in names]
    )


def _labels(root: Path) -> tuple[str, ...]:
    listed = root / "classes.txt"
    if not listed.is_file():
        raise BadInput(f"{root}: there is no classes.txt: write the classes' names into it, that of class 0 first")
    try:
        names = tuple(line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise BadInput(f"{listed}: not UTF-8 ({error})") from error
    if not 2 <= len(names) < VOID:
        raise BadInput(f"{listed}: {len(names)} classes: at least two, the background being one, and fewer than {VOID}")
    return names


def _look(pairs: Sequence[tuple[Path, Path]], classes: int) -> tuple[int, set[int]]:
    """The value of class 1, and all values of some masks: of masks that are black and white it is 255."""
    values: set[int] = set()
    for place in np.unique(np.linspace(0, len(pairs) - 1, min(LOOKED_AT, len(pairs))).astype(int)).tolist():
        picture, mask = pairs[place]
        try:
            with Image.open(picture) as image, Image.open(mask) as drawn:
                _require_numbers(drawn, mask)
                if drawn.size != image.size:
                    raise BadInput(
                        f"{mask}: {drawn.size} pixels, and its picture has {image.size}: they belong together"
                    )
                values |= set(np.unique(np.asarray(drawn).astype(np.int64)).tolist())
        except ERRORS:
            continue  # told, or skipped, when it is read
    return (VOID if values == {0, VOID} and classes == 2 else 1), values


Pairs = list[tuple[Path, Path]]


def load(choice: DatasetChoice) -> DataSet:
    """The pictures and masks of the folder at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    require_folder(root, choice.uri)
    parts, names = _parts(root, choice), _labels(root)
    pairs, held = _divided(root, parts)
    return _set(root, choice, names, (pairs, held), parts.words if parts is not None else "one fifth held out")


def _divided(root: Path, parts: splits.Parts | None) -> tuple[Pairs, Pairs]:
    """Pairs to train on and pairs held out."""
    if parts is not None:
        training = [pair for name in parts.training for pair in _pairs(root, name)]
        return training, [pair for name in parts.held_out for pair in _pairs(root, name)]
    every = _pairs(root, "")
    kept, out = stratified_split(np.zeros(len(every), np.int64), HELD_OUT)
    return [every[i] for i in kept], [every[i] for i in out]


def _set(root: Path, choice: DatasetChoice, names: tuple[str, ...], parts: tuple[Pairs, Pairs], words: str) -> DataSet:
    pairs, held = parts
    first = size_of(pairs[0][0], choice.image_size)
    size = first.model_copy(update={"resize": None})
    above, values = _look(pairs, len(names))
    bad = BadSamples(choice.on_bad_sample, len(pairs) + len(held))
    digest, covers = identity(root, [path for pair in (*pairs, *held) for path in pair])
    told = (
        f"classes {', '.join(names[:10])}; of {min(LOOKED_AT, len(pairs))} masks the values are {sorted(values)[:12]}"
    )
    if above != 1:
        told += f": {VOID} is taken for {names[1]}"
    return DataSet(
        training=MaskedPictures(tuple(pairs), size, len(names), above, bad),
        held_out=MaskedPictures(tuple(held), size, len(names), above, bad),
        labels=names,
        preprocessing=size,
        augmentation=Augmentation(shift=max(1, size.height // SHIFT_SHARE)),
        reference=DatasetReference(
            name="mask-folder",
            uri=choice.uri,
            digest=digest,
            covers=covers,
            training_samples=len(pairs),
            held_out_samples=len(held),
        ),
        taken=(
            words,
            told,
            f"{size.height} x {size.width} pixels, each as a whole",
        ),
        bad=bad,
        task=TrainingTask.SEGMENTATION,
    )
