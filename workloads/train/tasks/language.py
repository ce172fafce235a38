"""Prediction of the next token: cross-entropy per token, and perplexity."""

import math
from typing import Any

import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, Signature, TensorSpec
from workloads.data.texts.text import TextSet
from workloads.train.tasks.classify import require_shape, tokenizer
from workloads.train.tasks.task import Description, Figures


class Language:
    """Task of the next token. Outputs are logits [n, tokens, vocabulary], targets are int64 [n, tokens]."""

    def __init__(self, data: TextSet, label_smoothing: float) -> None:
        self._data, self.tokens = data, data.length
        self._label_smoothing = label_smoothing

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch's tokens, unchanged."""
        return batch

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Mean over all tokens, in nats, with the recipe's label smoothing."""
        self._require_logits(outputs, targets)
        logits = outputs.float().flatten(0, 1)
        return nn.functional.cross_entropy(logits, targets.flatten(), label_smoothing=self._label_smoothing)

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Samples, tokens, right guesses, cross-entropy without label smoothing."""
        self._require_logits(outputs, targets)
        logits, flat = outputs.float().flatten(0, 1), targets.flatten()
        loss = nn.functional.cross_entropy(logits, flat, reduction="sum")
        right = (logits.argmax(1) == flat).sum()
        return [float(len(targets)), float(len(flat)), float(right), float(loss)]

    @staticmethod
    def _require_logits(outputs: Any, targets: torch.Tensor) -> None:
        # A vocabulary larger than the tokenizer's, filled up for the hardware, is common.
        expected = (*targets.shape, outputs.shape[-1])
        require_shape(outputs, expected, "[samples, tokens, vocabulary]")

    def figures(self, sums: list[float]) -> Figures:
        """Perplexity: e to the mean loss; of a model that knows nothing it is the vocabulary's size."""
        samples, tokens, right, loss = sums
        mean = loss / tokens
        perplexity = math.exp(min(mean, 700.0))
        metrics = {
            "loss": mean,
            "perplexity": perplexity,
            "accuracy": right / tokens,
            "samples": int(samples),
            "tokens": int(tokens),
        }
        return Figures(metrics, f"held-out perplexity {perplexity:.2f}", -mean)

    def describe(self) -> Description:
        """Tokens in, logits of the next one out."""
        tokens = TensorSpec(name="tokens", dtype=DType.INT64, shape=["batch", self._data.length])
        shape: list[int | str] = ["batch", self._data.length, self._data.tokenizer.vocabulary]
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=shape)
        task = artifact.Task.TEXT_GENERATION
        return Description(task, Signature(inputs=[tokens], outputs=[logits]), files=tokenizer(self._data))
