"""Comparison of two language models on documents: perplexity, agreement and divergence, with intervals by document.

The document is the unit: its tokens depend on each other, so an interval over tokens would be too narrow. Differences
are paired, and a ratio of sums (Cochran 1977, section 6.3): each document weighs as much as it has tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from workloads.errors import BadInput


@dataclass(frozen=True)
class Judged:
    """Figures of a candidate against the float model, by document: tokens, losses in nats, same choices, divergence."""

    tokens: list[int]
    float_loss: list[float]
    loss: list[float]
    same: list[int]
    divergence: list[float]

    @property
    def float_perplexity(self) -> float:
        """e to the float model's mean loss of a token."""
        return math.exp(min(700.0, sum(self.float_loss) / sum(self.tokens)))

    @property
    def perplexity(self) -> float:
        """e to the candidate's mean loss of a token."""
        return math.exp(min(700.0, sum(self.loss) / sum(self.tokens)))

    def increase(self, confidence: float) -> tuple[float, float, float]:
        """Relative increase of the perplexity, with the ends of its interval."""
        differences = [after - before for after, before in zip(self.loss, self.float_loss, strict=True)]
        return tuple(math.expm1(min(700.0, one)) for one in ratio(differences, self.tokens, confidence))  # type: ignore[return-value]

    def agreement(self, confidence: float) -> tuple[float, float, float]:
        """Share of tokens for which both models' best choice is the same."""
        return ratio([float(one) for one in self.same], self.tokens, confidence)

    def mean_divergence(self, confidence: float) -> tuple[float, float, float]:
        """Mean Kullback-Leibler divergence of the next token's distribution from the float model's, in nats."""
        return ratio(self.divergence, self.tokens, confidence)


def ratio(values: Sequence[float], tokens: Sequence[int], confidence: float) -> tuple[float, float, float]:
    """Sum of values per token over documents, and its interval by Student's t. Infinite where a value is no number."""
    from scipy import stats  # type: ignore[import-untyped]

    weights, found = np.asarray(tokens, np.float64), np.asarray(values, np.float64)
    if len(found) < 2:
        raise BadInput("documents are what is compared, and there must be two at least: add documents")
    if not np.isfinite(found).all():
        return math.inf, math.inf, math.inf
    share = found.sum() / weights.sum()
    count = len(found)
    spread = math.sqrt(count / (count - 1) * float(((found - share * weights) ** 2).sum())) / float(weights.sum())
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * spread
    return float(share), float(share) - reach, float(share) + reach


class Scorer(Protocol):
    """Model that can be computed: by torch from its files, or by the engine that will serve it."""

    def each(self, documents: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Logits [length, vocabulary] of each document, int64 [1, length]."""
        ...


@torch.no_grad()
def judge(reference: Scorer, candidate: Scorer, documents: Sequence[torch.Tensor]) -> Judged:
    """Both models' answers to the same documents, int64 [1, length] each."""
    if len(documents) < 2:
        raise BadInput(f"evaluation needs two documents at least, there are {len(documents)}: add documents")
    rows: list[tuple[int, float, float, int, float]] = []
    pairs = zip(reference.each(documents), candidate.each(documents), strict=True)
    for ids, logits in zip(documents, pairs, strict=True):
        one, other = (found[:-1].float().log_softmax(-1) for found in logits)
        targets = ids[0, 1:, None]
        divergence = torch.nn.functional.kl_div(other, one, reduction="sum", log_target=True)
        same = (one.argmax(-1) == other.argmax(-1)).sum()
        rows.append(
            (
                len(targets),
                -float(one.gather(1, targets).sum()),
                -float(other.gather(1, targets).sum()),
                int(same),
                float(divergence),
            )
        )
    return Judged(*(list(column) for column in zip(*rows, strict=True)))
