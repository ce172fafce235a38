"""Classification of samples: cross-entropy, and accuracy with its uncertainty."""

import math
from typing import Any

import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, Signature, TensorSpec, TextProcessing
from workloads.data.datasets import DataSet
from workloads.data.normalisation import Normalise
from workloads.data.texts.text import TextSet
from workloads.errors import BadInput
from workloads.train.tasks.task import Description, Figures

NORMAL_95 = 1.959963984540054


def wilson(correct: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of `count` tries (Wilson 1927); unlike the normal one it stays inside 0 to 1 and is
    honest near the ends.
    """
    share, square = correct / count, NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    reach = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def require_shape(outputs: Any, expected: tuple[int, ...], words: str) -> None:
    """BadInput when a model's outputs are of another shape."""
    found = tuple(outputs.shape)
    if found != expected:
        raise BadInput(f"the model's outputs have the shape {list(found)}, expected {words}, here {list(expected)}")


class Classification:
    """Task of one class per sample. Outputs are logits [n, classes], targets are int64 [n]."""

    tokens = 0

    def __init__(self, label_smoothing: float, classes: int | None = None, weights: torch.Tensor | None = None) -> None:
        """`classes`: how many logits a model must answer; not checked when None. `weights`: of each class."""
        self._label_smoothing, self._classes, self._weights = label_smoothing, classes, weights

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with the recipe's label smoothing and class weights; targets may be shares [n, classes].

        With weights it is the sum by the number of samples, not by the sum of their weights: so it is the same
        however many processes share a batch. BadInput for outputs that are no logits of the classes.
        """
        require_shape(outputs, (len(targets), self._classes or outputs.shape[-1]), "[samples, classes]")
        smoothing, entropy = self._label_smoothing, nn.functional.cross_entropy
        if self._weights is None:
            return entropy(outputs.float(), targets, label_smoothing=smoothing)
        each = entropy(outputs.float(), targets, weight=self._weights, label_smoothing=smoothing, reduction="none")
        return each.mean()

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Samples, right answers, cross-entropy in nats without label smoothing. BadInput as of `loss`."""
        require_shape(outputs, (len(targets), self._classes or outputs.shape[-1]), "[samples, classes]")
        loss = nn.functional.cross_entropy(outputs.double(), targets, reduction="sum")
        return [float(len(targets)), float((outputs.argmax(1) == targets).sum()), float(loss)]

    def figures(self, sums: list[float]) -> Figures:
        """Accuracy with bounds at 95 % confidence."""
        count, correct, loss = sums
        low, high = wilson(correct, count)
        accuracy = correct / count
        metrics = {
            "accuracy": accuracy,
            "loss": loss / count,
            "samples": int(count),
            "accuracyLow95": low,
            "accuracyHigh95": high,
        }
        return Figures(metrics, f"held-out accuracy {accuracy:.4f} ({low:.4f} to {high:.4f})", accuracy)


class Pictures(Classification):
    """Classification of pictures. Batches are uint8 [n, c, h, w]."""

    def __init__(
        self, data: DataSet, label_smoothing: float, device: torch.device, weights: torch.Tensor | None = None
    ) -> None:
        super().__init__(label_smoothing, len(data.labels), weights)
        self._data, self._normalise = data, Normalise(data.preprocessing, device)

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Pictures normalised on the device."""
        return self._normalise(batch)

    def describe(self) -> Description:
        """Pictures in, logits out."""
        shape = self._data.preprocessing
        image = TensorSpec(
            name="images", dtype=DType.FLOAT32, shape=["batch", shape.channels, shape.height, shape.width]
        )
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", len(self._data.labels)])
        return Description(
            artifact.Task.IMAGE_CLASSIFICATION,
            Signature(inputs=[image], outputs=[logits]),
            shape,
            list(self._data.labels),
        )


class Texts(Classification):
    """Classification of texts. Batches are int64 [n, tokens]."""

    def __init__(self, data: TextSet, label_smoothing: float, weights: torch.Tensor | None = None) -> None:
        super().__init__(label_smoothing, len(data.labels), weights)
        self._data, self.tokens = data, data.length

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch's tokens, unchanged."""
        return batch

    def describe(self) -> Description:
        """Tokens in, logits out."""
        tokens = TensorSpec(name="tokens", dtype=DType.INT64, shape=["batch", self._data.length])
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", len(self._data.labels)])
        return Description(
            artifact.Task.TEXT_CLASSIFICATION,
            Signature(inputs=[tokens], outputs=[logits]),
            None,
            list(self._data.labels),
            tokenizer(self._data),
            processing(self._data),
        )


def processing(data: TextSet) -> TextProcessing:
    """Conversion of texts to tokens, as in training: the server does the same."""
    return TextProcessing(
        tokenizer="bytes" if data.tokenizer.file is None else "tokenizer.json",
        max_tokens=data.length,
        padding_token=data.tokenizer.end,
        special_tokens=False,
        tokens="tokens",
        padded=True,
    )


def tokenizer(data: TextSet) -> dict[str, str]:
    """The tokenizer's file, to be kept beside the weights; bytes need none."""
    return {} if data.tokenizer.file is None else {"tokenizer.json": data.tokenizer.file}
