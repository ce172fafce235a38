"""Any number of labels per sample: binary cross-entropy of each, F1, and mean average precision.

Average precision of a label is the sum over the ranks of precision times the gain in recall, as scikit-learn has it;
scores are counted in BINS by their logit, so that sums over processes and batches are enough: a label's samples that
fall into one bin share a rank.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, TensorSpec
from workloads.train.tasks.classify import require_shape
from workloads.train.tasks.inputs import Input
from workloads.train.tasks.task import Description, Figures

BINS, REACH = 512, 16.0  # of logits from -REACH to REACH


class MultiLabel:
    """Task of labels that a sample has or has not. Outputs are logits [n, labels], targets int64 [n, labels]."""

    def __init__(self, given: Input, labels: int) -> None:
        self._input, self.tokens, self._labels = given, given.tokens, labels

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Samples as the model takes them."""
        return self._input(batch)

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Mean over samples and labels, in nats. BadInput for outputs of another shape."""
        require_shape(outputs, (len(targets), self._labels), "[samples, labels]")
        return nn.functional.binary_cross_entropy_with_logits(outputs.float(), targets.float())

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Samples, loss; found, true and both of each label at half; and of each label the bins of yes and of no."""
        loss = float(self.loss(outputs, targets).double()) * len(targets)
        logits, true = outputs.float(), targets > 0
        found = logits > 0
        counts = torch.stack([found.sum(0), true.sum(0), (found & true).sum(0)]).double()
        bins = ((logits.clamp(-REACH, REACH) + REACH) * (BINS - 1) / (2 * REACH)).round().long()
        place = torch.arange(self._labels, device=bins.device) * BINS + bins
        tallies = [torch.bincount(place[chosen], minlength=self._labels * BINS).double() for chosen in (true, ~true)]
        return [float(len(targets)), loss, *counts.reshape(-1).tolist(), *torch.cat(tallies).tolist()]

    def figures(self, sums: list[float]) -> Figures:
        """F1 of all decisions together (micro) and mean over the labels (macro), and mean average precision.

        The means are over the labels that some held-out sample has.
        """
        samples, loss = sums[0], sums[1] / sums[0]
        count = self._labels
        found, true, both = np.asarray(sums[2 : 2 + 3 * count]).reshape(3, count)
        yes, no = np.asarray(sums[2 + 3 * count :]).reshape(2, count, BINS)
        there = true > 0
        micro = _f1(found.sum(), true.sum(), both.sum())
        macro = float(np.mean([_f1(*one) for one in zip(found[there], true[there], both[there], strict=True)] or [0.0]))
        precision = float(
            np.mean([average_precision(a, b) for a, b in zip(yes[there], no[there], strict=True)] or [0.0])
        )
        metrics = {
            "loss": loss,
            "f1": micro,
            "f1Macro": macro,
            "meanAveragePrecision": precision,
            "samples": int(samples),
        }
        words = f"held-out F1 {micro:.4f}, mean average precision {precision:.4f}"
        return Figures(metrics, words, -loss)  # the other two often tie: 0 at first, 1 at last

    def describe(self) -> Description:
        """Logits out, one for each label."""
        logits = TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", self._labels])
        return self._input.described(artifact.Task.MULTI_LABEL, logits)


def _f1(found: float, true: float, both: float) -> float:
    return float(2 * both / (found + true)) if found + true else 0.0


def average_precision(yes: Any, no: Any) -> float:
    """Average precision of one label from the numbers of its samples with and without it, in bins of rising score."""
    above, others = np.cumsum(yes[::-1]), np.cumsum(no[::-1])
    precision = above / np.maximum(1, above + others)
    return float((precision * yes[::-1]).sum() / max(1.0, above[-1]))
