"""Inputs of tasks that take pictures or texts alike: a batch on the device as the model takes it, and its words."""

from typing import Protocol

import torch

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, Signature, TensorSpec
from workloads.data.datasets import DataSet
from workloads.data.normalisation import Normalise
from workloads.data.own_dataset import ArraySet
from workloads.data.texts.text import TextSet
from workloads.train.tasks.classify import Classification, processing, tokenizer
from workloads.train.tasks.task import Description


class Input(Protocol):
    """Form of samples, as a task sees them."""

    tokens: int
    """Tokens of a sample; 0 where samples have none."""

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """A loader's batch, on the device, as the model's input."""

    def described(self, task: artifact.Task, output: TensorSpec) -> Description:
        """Description of a model that answers so."""


class PictureInput:
    """Pictures, uint8 [n, c, h, w], normalised on the device."""

    tokens = 0

    def __init__(self, data: DataSet, device: torch.device) -> None:
        self._data, self._normalise = data, Normalise(data.preprocessing, device)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """float32 [n, c, h, w]."""
        return self._normalise(batch)

    def described(self, task: artifact.Task, output: TensorSpec) -> Description:
        """Pictures in."""
        shape = self._data.preprocessing
        axes: list[int | str] = ["batch", shape.channels, shape.height, shape.width]
        image = TensorSpec(name="images", dtype=DType.FLOAT32, shape=axes)
        return Description(task, Signature(inputs=[image], outputs=[output]), shape, list(self._data.labels))


class TextInput:
    """Tokens of texts, int64 [n, length], as they are."""

    def __init__(self, data: TextSet) -> None:
        self._data, self.tokens = data, data.length

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch's tokens, unchanged."""
        return batch

    def described(self, task: artifact.Task, output: TensorSpec) -> Description:
        """Tokens in."""
        tokens = TensorSpec(name="tokens", dtype=DType.INT64, shape=["batch", self._data.length])
        signature = Signature(inputs=[tokens], outputs=[output])
        labels = list(self._data.labels)
        return Description(task, signature, None, labels, tokenizer(self._data), processing(self._data))


class ArrayInput:
    """Arrays of own code, float32, as they are."""

    tokens = 0

    def __init__(self, data: ArraySet) -> None:
        self._data = data

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch, unchanged."""
        return batch

    def described(self, task: artifact.Task, output: TensorSpec) -> Description:
        """Rows of numbers in."""
        rows = TensorSpec(name="inputs", dtype=DType.FLOAT32, shape=["batch", *self._data.shape])
        return Description(task, Signature(inputs=[rows], outputs=[output]), None, list(self._data.labels))


class Arrays(Classification):
    """Classification of own code's arrays."""

    def __init__(self, data: ArraySet, label_smoothing: float, weights: torch.Tensor | None = None) -> None:
        super().__init__(label_smoothing, len(data.labels), weights)
        self._input, self._count = ArrayInput(data), len(data.labels)

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch, unchanged."""
        return batch

    def describe(self) -> Description:
        """Logits out."""
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", self._count])
        return self._input.described(artifact.Task.IMAGE_CLASSIFICATION, logits)


def input_of(data: DataSet | TextSet, device: torch.device) -> Input:
    """The input of a data set's samples."""
    if isinstance(data, ArraySet):
        return ArrayInput(data)
    return TextInput(data) if isinstance(data, TextSet) else PictureInput(data, device)
