"""Samples that the model gets, and their batches. Calibration, comparison and evaluation read through here.

Two sources: the image data sets of the trainer, and .npz files with an array for each of the model's inputs (and
`labels`), or a folder with an .npy file for each. Batches are a function of the choice of samples alone, so that shards
and restarts agree on them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import Preprocessing, Task, TextProcessing
from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric
from slipway.api.quantization.settings import Calibration
from slipway.api.training.learning.task import TrainingTask
from workloads import data, storage
from workloads.data.detection.boxes import BoxSet
from workloads.data.own_dataset import ArraySet
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.onnx.feeds import Samples
from workloads.onnx.file import Port
from workloads.onnx.samples.array_samples import ArraySamples
from workloads.onnx.samples.image_samples import ImageSamples, RowSamples

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = dict[str, npt.NDArray[Any]]
    Labels = npt.NDArray[np.int64]


# What the data of an artifact's task are read for, where tables or masks could say several things.
LEARNED = {
    Task.SEGMENTATION: TrainingTask.SEGMENTATION,
    Task.MULTI_LABEL: TrainingTask.MULTI_LABEL,
    Task.REGRESSION: TrainingTask.REGRESSION,
}


def calibration_samples(
    choice: Calibration,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None = None,
    task: Task | None = None,
) -> Samples:
    """Samples for calibration: of a data set the training samples, never held-out ones."""
    return _samples(choice, ports, preprocessing, text, task, held_out=False, want_labels=False)


def evaluation_samples(
    choice: Evaluation,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None = None,
    task: Task | None = None,
    *,
    want_labels: bool,
) -> Samples:
    """Samples on which the float and the quantized model are compared: of a data set the held-out ones."""
    return _samples(choice, ports, preprocessing, text, task, held_out=True, want_labels=want_labels)


def _any_labels(choice: Calibration | Evaluation) -> bool:
    """Tell whether labels may be other than a class number per sample: only another task's measure reads them."""
    return not isinstance(choice, Evaluation) or choice.metric is not EvaluationMetric.TOP1


def _samples(
    choice: Calibration | Evaluation,
    ports: Sequence[Port],
    preprocessing: Preprocessing | None,
    text: TextProcessing | None,
    task: Task | None,
    *,
    held_out: bool,
    want_labels: bool,
) -> Samples:
    if choice.dataset is None:
        boxes = isinstance(choice, Evaluation) and choice.metric is EvaluationMetric.PRECISION50
        return _from_uri(str(choice.uri), ports, want_labels, any_labels=_any_labels(choice), boxes=boxes)
    loaded = data.open_set(choice.dataset, LEARNED.get(task) if task is not None else None)
    if isinstance(loaded, TextSet):
        from workloads.onnx.samples.token_samples import TokenSamples

        return TokenSamples(loaded, ports, text, held_out=held_out)
    part, word = (loaded.held_out, "held-out") if held_out else (loaded.training, "training")
    name, digest = f"{loaded.reference.name} ({word})", f"{loaded.reference.digest}/{word}"
    if isinstance(loaded, ArraySet) and len(ports) == 1:
        return RowSamples(part, loaded.preprocessing, ports[0], name, digest, 0)
    if preprocessing is None or len(ports) != 1:
        raise BadInput(
            "dataset holds images, and the model does not say how it wants them: give its inputs as .npz files (uri)"
        )
    own = loaded.preprocessing
    if (own.channels, own.height, own.width) != (preprocessing.channels, preprocessing.height, preprocessing.width):
        have, want = (
            f"{own.channels}x{own.height}x{own.width}",
            f"{preprocessing.channels}x{preprocessing.height}x{preprocessing.width}",
        )
        raise BadInput(f"dataset {loaded.reference.name} has images of {have}, the model takes {want}")
    return ImageSamples(
        part, preprocessing, ports[0], name, digest, len(loaded.labels) if isinstance(loaded, BoxSet) else 0
    )


def _from_uri(uri: str, ports: Sequence[Port], want_labels: bool, *, any_labels: bool, boxes: bool) -> ArraySamples:
    found = storage.fetch(uri)
    paths = sorted(found.glob("*.npz")) if found.is_dir() else [found]
    if not paths and any(found.glob("*.npy")):
        paths = [found]  # an array a file, by the names of the inputs
    if not paths:
        raise BadInput(f"{uri}: no .npz file in this folder, and no .npy file")
    samples = ArraySamples(paths, ports, uri, want_labels=want_labels, any_labels=any_labels, boxes=boxes)
    if len(samples) == 0:
        raise BadInput(f"{uri}: no sample in it")
    return samples


def choose(total: int, wanted: int, seed: int) -> list[int]:
    """`wanted` samples at random, in order of their index; a function of the numbers only."""
    # The one generator whose stream numpy promises never to change.
    return sorted(int(index) for index in np.random.RandomState(seed).permutation(total)[:wanted])
