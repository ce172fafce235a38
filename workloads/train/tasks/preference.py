"""Task of preferred answers: direct preference optimization (Rafailov et al. 2023, equation 7).

The loss of a pair is -log sigmoid(beta x ((c - rc) - (r - rr))): log-probabilities of the chosen and the rejected
answer, less those by the reference, the model as it is before the first step. Those are computed once and kept with
the pairs: they need no second model in memory, and a run that is resumed computes the same again from the same base.
With label smoothing e a pair counts with e the other way round (Mitchell 2023).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from workloads.data.datasets import Samples
from workloads.data.sample_order import Batch
from workloads.data.texts.packing import IGNORED
from workloads.data.texts.preferences import BESIDE, Pairs, PreferenceSet
from workloads.train.tasks.supervised import Supervised
from workloads.train.tasks.task import Figures
from workloads.train.world import World


class Preference(Supervised):
    """Outputs are logits [n, length, vocabulary] of both answers; targets int64 [n, length + BESIDE] as Pairs has."""

    def __init__(self, data: PreferenceSet, label_smoothing: float, beta: float) -> None:
        super().__init__(data, label_smoothing)
        self._smoothing, self._beta = label_smoothing, beta
        self._share: float | None = None
        self.tokens = 2 * data.length

    def refer(self, model: nn.Module, world: World) -> None:
        """Keep what the model says of each answer now, dropout off. Each process computes its part of the pairs."""
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            for samples in (self.data.training, self.data.held_out):
                pairs, indices = _underlying(samples)
                mine = {
                    index: self._answers_of(model, pairs, index, device) for index in indices[world.rank :: world.size]
                }
                found = world.sum([value for index in indices for value in mine.get(index, (0.0, 0.0))])
                pairs.references[indices] = torch.tensor(found, dtype=torch.float64).view(-1, 2).numpy()
        model.train()

    @staticmethod
    def _answers_of(model: nn.Module, pairs: Pairs, index: int, device: torch.device) -> tuple[float, float]:
        rows, targets = pairs.batch([index])
        outputs = model(torch.from_numpy(rows).to(device))
        chosen, rejected = log_probabilities(outputs, torch.from_numpy(targets).to(device))
        return float(chosen), float(rejected)

    def begin(self, batches: Sequence[Batch], world: World) -> None:
        """Count the pairs of a step's batches, over all processes."""
        total = world.count([float(sum(len(targets) for _, targets in batches))])[0]
        self._share = len(batches) * world.shares / max(1.0, total)

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """This batch's part of the step's mean over pairs."""
        found = self._losses(self.margins(outputs, targets))
        return found.mean() if self._share is None else found.sum() * self._share

    def margins(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Margins [n]: how much better than the reference the model tells each pair apart, times beta."""
        chosen, rejected = log_probabilities(outputs, targets)
        references = targets[:, 1 - BESIDE :].contiguous().view(torch.float64).to(chosen.dtype)
        return self._beta * ((chosen - references[:, 0]) - (rejected - references[:, 1]))

    def _losses(self, margins: torch.Tensor) -> torch.Tensor:
        right, wrong = nn.functional.logsigmoid(margins), nn.functional.logsigmoid(-margins)
        return -(1 - self._smoothing) * right - self._smoothing * wrong

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Pairs, those told apart rightly (a tie is half), loss without label smoothing, margins, learned tokens."""
        margins = self.margins(outputs, targets)
        right = (margins > 0).sum() + 0.5 * (margins == 0).sum()
        loss = -nn.functional.logsigmoid(margins).sum()
        learned = (targets[:, :-BESIDE] != IGNORED).sum()
        return [float(len(targets)), float(right), float(loss), float(margins.sum()), float(learned)]

    def figures(self, sums: list[float]) -> Figures:
        """Loss, share of the held-out pairs whose better answer became likelier, mean margin, counts of the data."""
        pairs, right, loss, margin, tokens = sums
        pairs = max(1.0, pairs)
        counts = self.data.counts
        metrics = {
            "loss": loss / pairs,
            "accuracy": right / pairs,
            "rewardMargin": margin / pairs,
            "samples": int(sums[0]),
            "tokens": int(tokens),
            "labelledTokenShare": counts.share,
            "truncatedSamples": counts.truncated,
            "unlabelledSamples": counts.unlabelled,
        }
        words = f"held-out loss {loss / pairs:.4f}, the better answer preferred in {right / pairs:.1%}"
        return Figures(metrics, words, -loss / pairs)


def log_probabilities(outputs: Any, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities in nats of the learned tokens of both answers, each [n]."""
    labels, borders = targets[:, :-BESIDE], targets[:, -BESIDE]
    logits = outputs.float()
    each = -nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(labels)
    first = torch.arange(labels.shape[1], device=labels.device)[None] < borders[:, None]
    return torch.where(first, each, 0.0).sum(1), torch.where(first, 0.0, each).sum(1)


def _underlying(samples: Samples) -> tuple[Pairs, list[int]]:
    """The pairs behind what limits have left, and the numbers of those that are left."""
    found: Any = samples
    indices = torch.arange(len(samples)).numpy()
    while not isinstance(found, Pairs):
        found, indices = found.whole, found.indices[indices]
    return found, indices.tolist()
