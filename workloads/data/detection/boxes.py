"""Data set of a detector: pictures of one size, each with boxes; read by the detection task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from workloads.data.datasets import DataSet, Samples

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Boxes = npt.NDArray[np.float32]

NONE = -1.0  # the class of a row without a box


class BoxedSamples(Samples, Protocol):
    """Pictures with boxes."""

    def batch(self, indices: Sequence[int]) -> "tuple[Pixels, Boxes]":
        """uint8 [n, channels, height, width], and float32 [n, most, 5].

        A row is class, centre x and y, width and height in pixels; class -1 fills up what has fewer boxes.
        """


@dataclass(frozen=True)
class BoxSet(DataSet):
    """A data set whose parts are `Boxed`; its labels are the classes of the boxes."""


def padded(rows: "Sequence[npt.NDArray[np.float32]]", most: int) -> "Boxes":
    """Boxes [k, 5] of each picture as one array [n, most, 5]."""
    result = np.full((len(rows), most, 5), NONE, dtype=np.float32)
    for index, boxes in enumerate(rows):
        result[index, : len(boxes)] = boxes
    return result
