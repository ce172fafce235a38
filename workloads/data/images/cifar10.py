"""CIFAR-10 (Krizhevsky 2009): 50000 training and 10000 held-out colour images of 32x32, from a folder as its author
packs it.

Both of his archives are read: the binary one, and the pickled one by an unpickler that runs no code at all.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from slipway.api.common.artifact import DatasetReference, FileDigest
from workloads import storage
from workloads.data.datasets import Augmentation, DataSet, InMemory, in_memory_preprocessing
from workloads.errors import BadInput, Corrupt

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
HELD_OUT = ("test_batch",)
SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32
SHIFT = 4  # pixels; the usual augmentation of this data set, with mirroring


class _Rebuilt:
    """Stand-in for numpy's constructors that the pickle asks for; it only remembers what it was given."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DataOnly(pickle.Unpickler):
    """Unpickler that knows three names and runs nothing for any of them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("_core", "core"), name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }:
            return _Rebuilt
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which a CIFAR-10 batch has no use for")


def _read_pickled(path: Path) -> InMemory:
    try:
        batch = _DataOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        _, shape, element, _, content = batch[b"data"].state
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
        if element.arguments[0] not in {b"u1", "u1"} or shape != (len(labels), VALUES):
            raise ValueError(f"data of shape {shape} for {len(labels)} labels")
        return InMemory(np.frombuffer(content, np.uint8).reshape(-1, *SHAPE), labels)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise Corrupt(f"{path}: not a CIFAR-10 batch ({error})") from error


def _read_binary(path: Path) -> InMemory:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if content.size == 0 or content.size % (1 + VALUES):
        raise Corrupt(f"{path}: {content.size} bytes are no whole number of images")
    records = content.reshape(-1, 1 + VALUES)
    return InMemory(records[:, 1:].reshape(-1, *SHAPE), records[:, 0].astype(np.int64))


def _read(path: Path) -> InMemory:
    part = _read_binary(path) if path.suffix == ".bin" else _read_pickled(path)
    if part.labels.min() < 0 or part.labels.max() >= len(LABELS):
        raise Corrupt(f"{path}: a label is not one of 0 to {len(LABELS) - 1}")
    return part


def _find(root: Path) -> tuple[Path, str]:
    """The folder that holds the batches, and their suffix."""
    for folder in (root, root / "cifar-10-batches-bin", root / "cifar-10-batches-py"):
        for suffix in (".bin", ""):
            if all((folder / f"{name}{suffix}").is_file() for name in (*TRAINING, *HELD_OUT)):
                return folder, suffix
    raise BadInput(
        f"CIFAR-10: {root} does not hold the files data_batch_1 to data_batch_5 and test_batch (with or without .bin)"
    )


def load(uri: str | None) -> DataSet:
    """The data set from the folder at `uri`, or a folder above the one that the archive unpacks to."""
    if uri is None:
        raise BadInput("the data set cifar10 is read from a path: set dataset.uri")
    folder, suffix = _find(storage.fetch(uri))
    paths = [folder / f"{name}{suffix}" for name in (*TRAINING, *HELD_OUT)]
    *training_parts, held_out = [_read(path) for path in paths]
    training = InMemory(
        np.concatenate([part.pixels for part in training_parts]),
        np.concatenate([part.labels for part in training_parts]),
    )
    files = [FileDigest(path=path.name, size=path.stat().st_size, digest=storage.sha256_of(path)) for path in paths]
    return DataSet(
        training=training,
        held_out=held_out,
        labels=LABELS,
        preprocessing=in_memory_preprocessing(training.pixels),
        augmentation=Augmentation(flip=True, shift=SHIFT),
        reference=DatasetReference(
            name="cifar10",
            uri=uri,
            digest=storage.tree_digest(files),
            training_samples=len(training),
            held_out_samples=len(held_out),
        ),
    )
