"""Detection of objects in pictures: the loss of a one-stage detector, and its mean average precision.

The loss has three parts as YOLOv5's (Jocher 2020), weighted as YOLOX's (Ge et al. 2021, arXiv:2107.08430): complete IoU
of matched boxes (Zheng et al. 2020, arXiv:1911.08287, equations 10 to 12), binary cross-entropy of objectness, whose
target for a matched place is the IoU that it reaches, and of classes. An object is learned by the anchors that differ
from it by less than four times, at its own place and at the two nearest neighbours.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, Signature, TensorSpec
from workloads.data.detection.boxes import BoxSet
from workloads.data.normalisation import Normalise
from workloads.models import yolo
from workloads.train.tasks.task import Description, Figures
from workloads.vision import detection

REACH = 4.0  # of an anchor, as the decoding has it
BOX, CERTAINTY, CLASS = 5.0, 1.0, 1.0  # weights of the parts, each a sum over a picture's matches by their number


class Detection:
    """Task of objects in pictures. Outputs are [n, boxes, 5 + classes], targets as `Boxed` has them."""

    tokens = 0

    def __init__(self, data: BoxSet, device: torch.device) -> None:
        self._data, self._normalise = data, Normalise(data.preprocessing, device)
        shape = data.preprocessing
        grid = yolo.grid_for(shape.height, shape.width)
        self._grid = yolo.Grid(grid.places.to(device), grid.strides.to(device), grid.anchors.to(device))

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Pictures normalised on the device."""
        return self._normalise(batch)

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the pictures, so that it is the same however many processes share a batch."""
        raw, count = outputs.float(), len(outputs)
        entropy = nn.functional.binary_cross_entropy_with_logits
        picture, place, box, kind = self._matches(targets)
        matches = torch.bincount(picture, minlength=count).clamp(min=1).float()
        own = raw[picture, place]
        overlap = complete_iou(yolo.boxes_from(own[:, :4], self._at(place)), box)
        certain = torch.zeros_like(raw[..., 4])
        certain[picture, place] = overlap.detach().clamp(0)
        classes = nn.functional.one_hot(kind, raw.shape[-1] - 5).float()
        matched = BOX * (1 - overlap) + CLASS * entropy(own[:, 5:], classes, reduction="none").sum(-1)
        everywhere = CERTAINTY * entropy(raw[..., 4], certain, reduction="none").sum(-1)
        return ((matched / matches[picture]).sum() + (everywhere / matches).sum()) / count

    def _at(self, place: torch.Tensor) -> yolo.Grid:
        grid = self._grid
        return yolo.Grid(grid.places[place], grid.strides[place], grid.anchors[place])

    def _matches(self, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Matches of objects with places that learn them: pictures [m], places [m], boxes [m, 4], classes [m]."""
        grid = self._grid
        sizes = targets[:, :, None, 3:5] / grid.anchors[None, None, :, None]
        near = torch.maximum(sizes, 1 / sizes.clamp(min=1e-9)).amax(-1) < REACH
        # In places, from the middle of this one; within one of it are the place itself and the two nearest.
        away = targets[:, :, None, 1:3] / grid.strides[None, None, :, None] - (grid.places + 0.5)[None, None]
        inside = (away.abs() <= 1).all(-1) & (away.abs() <= 0.5).any(-1)
        picture, row, place = torch.where((targets[:, :, None, 0] >= 0) & near & inside)
        chosen = targets[picture, row]
        return picture, place, chosen[:, 1:], chosen[:, 0].long()

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Pictures, and the tallies of all classes."""
        boxes, scores = detection.corners(outputs.float().cpu().numpy().astype(np.float64))
        total: Any = 0.0
        for own, score, rows in zip(boxes, scores, targets.cpu().numpy(), strict=True):
            kept, classes, best = detection.select(own, score, detection.LEAST)
            true = rows[rows[:, 0] >= 0].astype(np.float64)
            edges = np.concatenate([true[:, 1:3] - true[:, 3:] / 2, true[:, 1:3] + true[:, 3:] / 2], axis=1)
            found = (own[kept], classes, best)
            total = total + detection.tally(
                found, edges, true[:, 0].astype(int), len(self._data.labels), detection.OVERLAP
            )
        return [float(len(targets)), *total.reshape(-1).tolist()]

    def figures(self, sums: list[float]) -> Figures:
        """mAP@0.5: the mean over the classes of which the held-out pictures show an object."""
        tallies = np.asarray(sums[1:]).reshape(len(self._data.labels), -1)
        found = detection.average_precisions(tallies)
        mean = float(np.nanmean(found)) if not np.isnan(found).all() else 0.0
        metrics = {"averagePrecision50": mean, "samples": int(sums[0]), "objects": int(tallies[:, -1].sum())}
        return Figures(metrics, f"held-out mAP@0.5 {mean:.4f}", mean)

    def describe(self) -> Description:
        """Pictures in, YOLOv5's layout out."""
        shape, classes = self._data.preprocessing, len(self._data.labels)
        image = TensorSpec(
            name="images", dtype=DType.FLOAT32, shape=["batch", shape.channels, shape.height, shape.width]
        )
        found = TensorSpec(
            name="predictions", dtype=DType.FLOAT32, shape=["batch", len(self._grid.places), 5 + classes]
        )
        task = artifact.Task.OBJECT_DETECTION
        return Description(task, Signature(inputs=[image], outputs=[found]), shape, list(self._data.labels))


def complete_iou(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Intersection over union less what centres and proportions are apart, for boxes [m, 4] as centre and size.

    From 1 downwards, below 0 for boxes that are far apart.
    """
    low = torch.stack([box[:, :2] - box[:, 2:] / 2 for box in (found, true)])
    high = torch.stack([box[:, :2] + box[:, 2:] / 2 for box in (found, true)])
    shared = (high.amin(0) - low.amax(0)).clamp(min=0).prod(-1)
    union = found[:, 2:].prod(-1) + true[:, 2:].prod(-1) - shared + 1e-9
    overlap = shared / union
    distance = (found[:, :2] - true[:, :2]).square().sum(-1) / ((high.amax(0) - low.amin(0)).square().sum(-1) + 1e-9)
    angles = torch.atan(true[:, 2] / true[:, 3]) - torch.atan(found[:, 2] / found[:, 3].clamp(min=1e-9))
    proportion = 4 / math.pi**2 * angles.square()
    with torch.no_grad():
        weight = proportion / (1 - overlap + proportion + 1e-9)
    return overlap - distance - weight * proportion
