"""Words for the model's numbers: labels and probabilities of a classification, by the artifact's labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from workloads.serve.datatypes import Array

TOP = 5
ALREADY = 1e-3  # rows that sum to one within this are probabilities already


def classify(scores: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Scores [rows, classes], logits or probabilities. Per row the best label and the TOP best."""
    result = []
    for row in probabilities(scores):
        best = np.argsort(-row, kind="stable")[:TOP]
        top = [
            {"label": _label(labels, index), "index": int(index), "probability": float(row[index])} for index in best
        ]
        result.append({**top[0], "top": top})
    return result


def probabilities(scores: Array) -> Array:
    """Softmax over the classes, in float64, unless the rows are probabilities."""
    wide = scores.reshape(scores.shape[0], -1).astype(np.float64)
    if (wide >= 0).all() and np.allclose(wide.sum(axis=1), 1, atol=ALREADY):
        return wide
    shifted = np.exp(wide - wide.max(axis=1, keepdims=True))
    total: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return total


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if index < len(labels) else str(int(index))
