"""Handwritten digits, 1797 images of 8x8, inside scikit-learn's package: real data that needs no download.

The file is read directly because importing scikit-learn takes seconds and only its data is wanted.
One fifth of each class is held out (scikit-learn's copy of the data comes without a split).
"""

import gzip
import importlib.util
import io
from pathlib import Path

import numpy as np

from slipway.api.common.artifact import DatasetReference
from workloads import storage
from workloads.data.datasets import Augmentation, DataSet, InMemory, in_memory_preprocessing, stratified_split
from workloads.errors import BadInput

HELD_OUT = 0.2
BRIGHTEST = 16
FILE = Path("datasets/data/digits.csv.gz")


def _file() -> Path:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("the data set digits comes with scikit-learn, which is not installed here")
    return Path(spec.submodule_search_locations[0]) / FILE


def load(_uri: str | None) -> DataSet:
    """The data set; brightness 0 to 16 is stretched to 0 to 255 so that every image data set has the same range."""
    path = _file()
    rows = np.loadtxt(io.StringIO(gzip.decompress(path.read_bytes()).decode()), delimiter=",")
    labels = rows[:, -1].astype(np.int64)
    pixels = np.rint(rows[:, :-1] * 255 / BRIGHTEST).astype(np.uint8).reshape(-1, 1, 8, 8)
    training, held_out = stratified_split(labels, HELD_OUT)
    return DataSet(
        training=InMemory(pixels[training], labels[training]),
        held_out=InMemory(pixels[held_out], labels[held_out]),
        labels=tuple(str(digit) for digit in range(10)),
        preprocessing=in_memory_preprocessing(pixels[training]),
        augmentation=Augmentation(),
        reference=DatasetReference(
            name="digits",
            digest=storage.sha256_of(path),
            training_samples=len(training),
            held_out_samples=len(held_out),
        ),
    )
