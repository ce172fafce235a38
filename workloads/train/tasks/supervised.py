"""Task of the learned tokens of texts and chats: the mean over the tokens of a whole step, wherever they are computed.

A mean of each batch's mean gives a token of a short text more weight than one of a long text, so accumulation and many
processes would change what is learned. Here each batch's sum is divided by the step's tokens, counted beforehand.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, Signature, TensorSpec
from workloads.data.sample_order import Batch
from workloads.data.texts.packing import IGNORED
from workloads.data.texts.supervised import SupervisedSet
from workloads.train.tasks.task import Description, Figures
from workloads.train.world import World


class Supervised:
    """Outputs are logits [n, length, vocabulary], targets int64 [n, length], IGNORED where nothing is learned."""

    def __init__(self, data: SupervisedSet, label_smoothing: float) -> None:
        self.data, self._label_smoothing = data, label_smoothing
        self.tokens = data.length
        self._factor: float | None = None

    def begin(self, batches: Sequence[Batch], world: World) -> None:
        """Count the learned tokens of a step's batches, over all processes."""
        mine = sum(int((targets != IGNORED).sum()) for _, targets in batches)
        total = world.count([float(mine)])[0]
        # The loop takes the mean over batches and processes of what `loss` says.
        self._factor = len(batches) * world.shares / max(1.0, total)

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Tokens, segments and places, unchanged."""
        return batch

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """This batch's part of the step's mean in nats, with label smoothing; 0 where nothing is learned."""
        total = nn.functional.cross_entropy(
            outputs.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self._label_smoothing,
        )
        factor = self._factor
        if factor is None:  # outside of a step: the batch's own mean
            return total / (targets != IGNORED).sum().clamp(min=1)
        return total * factor

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Samples, learned tokens, right guesses, cross-entropy without label smoothing."""
        logits, flat = outputs.float().flatten(0, 1), targets.flatten()
        learned = flat != IGNORED
        loss = nn.functional.cross_entropy(logits, flat, ignore_index=IGNORED, reduction="sum")
        right = ((logits.argmax(1) == flat) & learned).sum()
        return [float(len(targets)), float(learned.sum()), float(right), float(loss)]

    def figures(self, sums: list[float]) -> Figures:
        """Loss and perplexity of the held-out tokens that are learned, and the counts of the training data."""
        samples, tokens, right, loss = sums
        mean = loss / max(1.0, tokens)
        perplexity = math.exp(min(mean, 700.0))
        counts = self.data.counts
        metrics = {
            "loss": mean,
            "perplexity": perplexity,
            "accuracy": right / max(1.0, tokens),
            "samples": int(samples),
            "tokens": int(tokens),
            "labelledTokenShare": counts.share,
            "truncatedSamples": counts.truncated,
            "unlabelledSamples": counts.unlabelled,
        }
        return Figures(metrics, f"held-out loss {mean:.4f}, perplexity {perplexity:.2f}", -mean)

    def describe(self) -> Description:
        """Tokens in, logits of the next one out."""
        tokens = TensorSpec(name="input_ids", dtype=DType.INT64, shape=["batch", "tokens"])
        shape: list[int | str] = ["batch", "tokens", self.data.tokenizer.vocabulary]
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=shape)
        return Description(artifact.Task.TEXT_GENERATION, Signature(inputs=[tokens], outputs=[logits]))
