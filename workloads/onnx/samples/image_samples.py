"""Samples that are pictures of a built-in data set, normalised as the artifact says."""

from collections.abc import Sequence

import numpy as np

from slipway.api.common.artifact import Preprocessing
from workloads.data import Images
from workloads.onnx.feeds import Batch
from workloads.onnx.file import Port


class ImageSamples:
    """Images of a built-in data set, normalised as the artifact says."""

    labelled, whole = True, False

    def __init__(
        self, images: Images, preprocessing: Preprocessing, port: Port, name: str, digest: str, classes: int
    ) -> None:
        self._images, self._port, self.name, self.digest, self.classes = images, port, name, digest, classes
        shape = (1, -1, 1, 1)
        std = np.array(preprocessing.std, dtype=np.float64).reshape(shape)
        self._factor = (preprocessing.scale / std).astype(np.float32)
        self._offset = (-np.array(preprocessing.mean, dtype=np.float64).reshape(shape) / std).astype(np.float32)

    def __len__(self) -> int:
        return len(self._images)

    def weight(self, _index: int) -> int:
        """Equal weight of 1, since all pictures have one shape."""
        return 1

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """Batches of the chosen samples in order; the last one may be shorter."""
        return [list(chosen[start : start + size]) for start in range(0, len(chosen), size)]

    def read(self, batch: Sequence[int]) -> Batch:
        """Float32 [n, c, h, w] under the model's input name."""
        pixels, labels = self._images.batch(batch)
        return Batch({self._port.name: pixels.astype(np.float32) * self._factor + self._offset}, labels)


class RowSamples(ImageSamples):
    """Float arrays of a data set of own code, as they are."""

    def read(self, batch: Sequence[int]) -> Batch:
        """Float32 [n, ...] under the model's input name."""
        rows, labels = self._images.batch(batch)
        return Batch({self._port.name: np.asarray(rows, np.float32)}, labels)
