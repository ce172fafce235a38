"""Detections of a model on the evaluation samples, and the confidence of a difference between two detectors.

Mean average precision at half an overlap, by COCO's definition as in workloads.vision.detection; the drop between two
models has a percentile interval over pictures that are drawn again with replacement, the same ones for both (the paired
bootstrap, Efron 1979). What is kept of a model is which of its boxes hit at which score, so any choice of pictures can
be judged anew without the model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.measure.confidence import Difference
from workloads.onnx import session as runtime
from workloads.onnx.feeds import Samples
from workloads.quantize.evaluation.answers import outputs_of
from workloads.vision import detection

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

OUTPUTS_KEPT = 16  # samples whose outputs are kept, for the noise figure: they are much larger than a row of classes
RESAMPLED = 1000


@dataclass(frozen=True)
class Detections:
    """Detections of a model. `boxes` [m, 4]: picture, class, thousandths of the score, whether it hit.

    `objects` [n, classes]: how many there are in each picture; `outputs`: the first predictions.
    """

    boxes: "npt.NDArray[np.int32]"
    objects: "npt.NDArray[np.int32]"
    outputs: "npt.NDArray[np.float32]"

    def __len__(self) -> int:
        return len(self.objects)

    def precision(self, weights: "npt.NDArray[np.int64] | None" = None) -> float:
        """mAP@0.5 when picture i counts `weights[i]` times; once each when there are none. 0 without any object."""
        counted = np.ones(len(self), dtype=np.int64) if weights is None else weights
        picture, kind, rank, hit = self.boxes.T
        classes, width = self.objects.shape[1], 2 * detection.BINS + 1
        place = kind * width + rank + np.where(hit, 0, detection.BINS)
        tallies = np.bincount(place, weights=counted[picture], minlength=classes * width).reshape(classes, width)
        tallies[:, -1] = counted @ self.objects
        found = detection.average_precisions(tallies)
        return float(np.nanmean(found)) if not np.isnan(found).all() else 0.0

    def against(self, reference: "Detections", confidence: float) -> Difference:
        """Drop of precision against the reference on the same pictures, with its interval."""
        first, second = reference.precision(), self.precision()
        drops = [reference.precision(weights) - self.precision(weights) for weights in _resamples(len(self))]
        low, high = _middle(drops, confidence)
        return Difference(first, first - second, low, high)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Interval of its own precision."""
        return _middle([self.precision(weights) for weights in _resamples(len(self))], confidence)

    def save(self, path: Path) -> None:
        """Write the detections as .npz, whole or not at all."""
        staged = path.with_name(f".{path.name}.partial")
        with staged.open("wb") as stream:
            np.savez_compressed(stream, boxes=self.boxes, objects=self.objects, outputs=self.outputs)
        staged.rename(path)

    @classmethod
    def load(cls, path: Path) -> "Detections":
        """Read the detections that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["boxes"], arrays["objects"], arrays["outputs"])


def _resamples(count: int) -> "Iterable[npt.NDArray[np.int64]]":
    """Counts of how often each picture is drawn, resample by resample; the same for any two models."""
    random = np.random.RandomState(0)
    for _ in range(RESAMPLED):
        yield np.bincount(random.randint(count, size=count), minlength=count)


def _middle(figures: Sequence[float], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def find(model: "onnx.ModelProto | bytes", samples: Samples, batches: Iterable[list[int]]) -> Detections:
    """Run the model over the batches. BadInput when its first output is not in YOLOv5's layout for these classes."""
    session = runtime.session(model)
    predictions, truths = [], []
    for chosen in batches:
        batch = samples.read(chosen)
        predictions.append(outputs_of(session, batch.feeds).astype(np.float32))
        truths.append(batch.labels)
    if not predictions:
        raise BadInput("there are no evaluation samples")
    return judged(predictions, truths, samples.classes)


def judged(predictions: Sequence[Any], truths: Sequence[Any], classes: int) -> Detections:
    """Batches of predictions [n, boxes, 5 + classes] held against batches of objects [n, most, 5]."""
    boxes: list[npt.NDArray[np.int32]] = []
    objects: list[npt.NDArray[np.int32]] = []
    if classes <= 0 and predictions[0].ndim == 3:
        classes = int(predictions[0].shape[2]) - 5  # boxes of .npz files do not say how many classes there are
    for prediction, truth in zip(predictions, truths, strict=True):
        if (np.asarray(truth)[..., 0] >= classes).any():
            raise BadInput(f"labels hold a class {int(np.asarray(truth)[..., 0].max())}, the model has {classes}")
        if prediction.ndim != 3 or prediction.shape[2] != 5 + classes:
            raise BadInput(
                f"the model's first output has shape {prediction.shape}, not YOLOv5's layout for {classes} classes: "
                f"[batch, boxes, {5 + classes}]"
            )
        for one, rows in zip(prediction, truth, strict=True):
            kinds, ranks, hit, true_kinds = detection.judged(one, rows)
            picture = np.full(len(kinds), len(objects))
            boxes.append(np.stack([picture, kinds, ranks, hit], axis=1).astype(np.int32))
            objects.append(np.bincount(true_kinds, minlength=classes).astype(np.int32))
    kept = [row for batch in predictions for row in batch[:OUTPUTS_KEPT]][:OUTPUTS_KEPT]
    return Detections(np.concatenate(boxes), np.stack(objects), np.stack(kept))
