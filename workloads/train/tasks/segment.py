"""Segmentation: a class for each pixel, by cross-entropy; mean overlap (IoU) of the classes, and right pixels."""

from typing import Any

import numpy as np
import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, TensorSpec
from workloads.data.datasets import DataSet
from workloads.data.sample_order import NOTHING
from workloads.train.tasks.classify import require_shape
from workloads.train.tasks.inputs import PictureInput
from workloads.train.tasks.task import Description, Figures


class Segmentation:
    """Task of masks. Outputs are logits [n, classes, h, w], targets int64 [n, h, w], NOTHING where none is learned."""

    tokens = 0

    def __init__(self, data: DataSet, device: torch.device) -> None:
        self._input, self._classes = PictureInput(data, device), len(data.labels)
        self._size = (data.preprocessing.height, data.preprocessing.width)

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Pictures normalised on the device."""
        return self._input(batch)

    def _require(self, outputs: Any, targets: torch.Tensor) -> None:
        require_shape(outputs, (len(targets), self._classes, *self._size), "[samples, classes, height, width]")

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the pictures of the mean over their pixels, in nats: so it is the same however many processes
        share a batch, though pictures differ in how many pixels are learned.
        """
        self._require(outputs, targets)
        entropy = nn.functional.cross_entropy(outputs.float(), targets, ignore_index=NOTHING, reduction="none")
        learned = (targets != NOTHING).flatten(1).sum(1).clamp(min=1)
        return (entropy.flatten(1).sum(1) / learned).mean()

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Pictures, loss, and how many pixels of each class were found as each class."""
        loss = float(self.loss(outputs, targets).double()) * len(targets)
        learned, found = targets != NOTHING, outputs.argmax(1)
        pairs = targets[learned] * self._classes + found[learned]
        table = torch.bincount(pairs, minlength=self._classes**2)
        return [float(len(targets)), loss, *table.double().tolist()]

    def figures(self, sums: list[float]) -> Figures:
        """Mean IoU over the classes that are there or were found (Jaccard 1912), and the share of right pixels."""
        table = np.asarray(sums[2:]).reshape(self._classes, self._classes)
        right, pixels = np.diag(table), table.sum()
        union = table.sum(0) + table.sum(1) - right
        overlap = float((right[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 0.0
        accuracy = float(right.sum() / pixels) if pixels else 0.0
        metrics = {
            "loss": sums[1] / sums[0],
            "meanIou": overlap,
            "pixelAccuracy": accuracy,
            "samples": int(sums[0]),
        }
        return Figures(metrics, f"held-out mean IoU {overlap:.4f}, right pixels {accuracy:.4f}", overlap)

    def describe(self) -> Description:
        """Logits of each pixel out."""
        axes: list[int | str] = ["batch", self._classes, *self._size]
        return self._input.described(
            artifact.Task.SEGMENTATION, TensorSpec(name="masks", dtype=DType.FLOAT32, shape=axes)
        )
