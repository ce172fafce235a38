"""Words for the model's numbers: labels and probabilities, or numbers by name, by the artifact's labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slipway.api.common.artifact import Task
from workloads.serve.datatypes import Array
from workloads.serve.rest.pieces import plain
from workloads.serve.signature import Signature

TOP = 5
LOGITS = "logits"  # name of an output that holds them, whatever its values
CLASSES = {Task.IMAGE_CLASSIFICATION, Task.TEXT_CLASSIFICATION}  # told by the first output, whatever follows it
BY_TASK = {*CLASSES, Task.MULTI_LABEL, Task.REGRESSION}
HALF = 0.5  # from this probability on a sample has a label
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


def of_task(task: Task, output: Array, name: str, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Words for the output of one of BY_TASK; `name` is the output's."""
    if task is Task.REGRESSION:
        return numbers(output, labels)
    return several(output, labels, logits=name == LOGITS) if task is Task.MULTI_LABEL else classify(output, labels)


def several(scores: Array, labels: Sequence[str], *, logits: bool) -> list[dict[str, Any]]:
    """Scores [rows, labels], logits or probabilities of each by itself. Per row the labels from HALF on, and TOP."""
    wide = scores.reshape(scores.shape[0], -1).astype(np.float64)
    inside = bool(((wide >= 0) & (wide <= 1)).all())
    shares = wide if inside and not logits else 0.5 * (1 + np.tanh(wide / 2))
    result = []
    for row in shares:
        order = np.argsort(-row, kind="stable")
        sure = int((row >= HALF).sum())
        told = [
            {"label": _label(labels, index), "index": int(index), "probability": float(row[index])}
            for index in order[: max(TOP, sure)]
        ]
        result.append({"labels": [one["label"] for one in told[:sure]], "top": told})
    return result


def numbers(outputs: Array, names: Sequence[str]) -> list[dict[str, Any]]:
    """Numbers [rows, k]. Per row `value` of one number, or `values` of several by their names."""
    wide = outputs.reshape(outputs.shape[0], -1)
    if wide.shape[1] == 1:
        return [{"value": float(row[0])} for row in wide]
    return [{"values": {_label(names, place): float(one) for place, one in enumerate(row)}} for row in wide]


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if index < len(labels) else str(int(index))


def by_row(signature: Signature, outputs: Sequence[Array]) -> list[Any]:
    """Results of own code by name: for each row where all have as many, else all of it at once."""
    named = {tensor.name: output for tensor, output in zip(signature.outputs, outputs, strict=True)}
    lengths = {len(output) if output.ndim else -1 for output in outputs}
    if len(lengths) != 1 or lengths == {-1}:
        return [{name: plain(output) for name, output in named.items()}]
    return rows_by_name(named, lengths.pop())


def rows_by_name(named: Mapping[str, Array], count: int) -> list[Any]:
    """Each row's values by their outputs' names."""
    values = {name: plain(output) for name, output in named.items()}
    return [{name: one[row] for name, one in values.items()} for row in range(count)]
