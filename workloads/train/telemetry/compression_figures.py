"""Effect of compression on the model that was trained: rows of figures, for the artifact and its report.

From before the first step to the end. Called by initial_model.py and publish.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workloads.train.tasks import Figures

Row = dict[str, Any]
BEFORE, TRAINED = "before", "trained"
TOLD = ("accuracy", "perplexity", "averagePrecision50", "r2", "meanAveragePrecision", "meanIou")


def ended(rows: Sequence[Row], model: nn.Module, trained: Mapping[str, torch.Tensor], figures: Figures) -> list[Row]:
    """The rows, and the one after the training: its size and speed are those of the last step."""
    if not rows:
        return []
    parameters = {name for name, _ in model.named_parameters()}
    zeros = sum(int((tensor == 0).sum()) for name, tensor in trained.items() if name in parameters)
    return [*rows, {**rows[-1], "what": TRAINED, "zeros": zeros, "metrics": figures.metrics}]


def in_words(rows: Sequence[Row]) -> dict[str, str]:
    """One line for each row of the report; compression's own words are its label."""
    return {row["what"]: _line(row) for row in rows}


def _line(row: Row) -> str:
    known = row.get("metrics", {})
    judged = [f"{name} {known[name]:.4f}" for name in TOLD if name in known]
    sizes = f"{row['parameters']} parameters, {row['zeros']} of them zero, {row['flops'] / 1e6:.2f} MFLOPs"
    return ", ".join([sizes, f"{row['sizeBytes'] / 1e6:.3f} MB, p50 {row['p50Ms']:.3f} ms", *judged])
