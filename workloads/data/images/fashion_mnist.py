"""Fashion-MNIST (Xiao et al.

2017): 60000 training and 10000 held-out images of clothes, 28x28 grey, in four idx.gz files.

Debian's package dataset-fashion-mnist installs them; the same reader takes any folder with files of these names.
"""

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference, FileDigest
from workloads import storage
from workloads.data.datasets import Augmentation, DataSet, InMemory, in_memory_preprocessing
from workloads.errors import BadInput, Corrupt

if TYPE_CHECKING:
    import numpy.typing as npt

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
UNSIGNED_BYTE = 8


def read_idx(path: Path) -> "npt.NDArray[np.uint8]":
    """An idx file of unsigned bytes, gzipped or not: two zero bytes, type, number of axes, their lengths
    (big-endian), data.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise Corrupt(f"{path}: not a whole gzip file ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise Corrupt(f"{path}: not an idx file of unsigned bytes")
    axes = content[3]
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    data = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if data.size != np.prod(shape):
        raise Corrupt(f"{path}: {data.size} bytes of data, the header says {shape}")
    return data.reshape(shape)


def _find(folder: Path) -> list[Path]:
    found = []
    for name in FILES:
        candidates = [folder / f"{name}.gz", folder / name]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise BadInput(
                f"Fashion-MNIST: no {name}.gz in {folder}; "
                "install Debian's dataset-fashion-mnist, or set dataset.uri to a folder with its files"
            )
        found.append(path)
    return found


def load(uri: str | None) -> DataSet:
    """The data set from `uri`, or from where Debian installs it."""
    paths = _find(DEBIAN if uri is None else storage.fetch(uri))
    arrays: list[Any] = [read_idx(path) for path in paths]
    files = [FileDigest(path=path.name, size=path.stat().st_size, digest=storage.sha256_of(path)) for path in paths]
    training, held_out = (InMemory(arrays[i][:, None], arrays[i + 1].astype(np.int64)) for i in (0, 2))
    for part in (training, held_out):
        if len(part.pixels) != len(part.labels) or part.labels.max(initial=0) >= len(LABELS):
            raise Corrupt(f"{paths[0].parent}: images and labels do not belong together")
    return DataSet(
        training=training,
        held_out=held_out,
        labels=LABELS,
        preprocessing=in_memory_preprocessing(training.pixels),
        augmentation=Augmentation(flip=True),
        reference=DatasetReference(
            name="fashion-mnist",
            uri=uri,
            digest=storage.tree_digest(files),
            training_samples=len(training),
            held_out_samples=len(held_out),
        ),
    )
