"""Regression of one number or several: squared error in units of the training data's deviation.

So each number counts alike, whatever its unit. Mean absolute error (MAE) and root mean square error (RMSE) are in the
data's units; R2 is the share of the held-out variance that is explained. Of several numbers they are means.
"""

import math
from typing import Any

import torch

from slipway.api.common import artifact
from slipway.api.common.artifact import DType, TensorSpec
from workloads.data.targets import Spread
from workloads.train.tasks.classify import require_shape
from workloads.train.tasks.inputs import Input
from workloads.train.tasks.task import Description, Figures

SUMS = 4  # of each number: |error|, error^2, target, target^2, in deviations


class Regression:
    """Task of numbers. Outputs and targets are float32 [n, numbers], in the data's units."""

    def __init__(self, given: Input, spread: Spread, device: torch.device) -> None:
        self._input, self.tokens, self._spread = given, given.tokens, spread
        self._mean = torch.tensor(spread.mean, device=device)
        self._deviation = torch.tensor(spread.deviation, device=device)

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """Samples as the model takes them."""
        return self._input(batch)

    def _errors(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        require_shape(outputs, (len(targets), len(self._spread.mean)), "[samples, numbers]")
        errors: torch.Tensor = (outputs.float() - targets.float()) / self._deviation
        return errors

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Mean squared error in deviations. BadInput for outputs of another shape."""
        return self._errors(outputs, targets).square().mean()

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Samples, and SUMS of each number."""
        errors = self._errors(outputs, targets).double()
        plain = ((targets.float() - self._mean) / self._deviation).double()
        parts = torch.stack([errors.abs(), errors.square(), plain, plain.square()]).sum(1)
        return [float(len(targets)), *parts.T.reshape(-1).tolist()]

    def figures(self, sums: list[float]) -> Figures:
        """MAE, RMSE and R2; R2 is 0 where every held-out sample has the same number."""
        count, rest = sums[0], sums[1:]
        rows = [rest[start : start + SUMS] for start in range(0, len(rest), SUMS)]
        units = self._spread.deviation
        mae = _mean([unit * one[0] / count for unit, one in zip(units, rows, strict=True)])
        rmse = _mean([unit * math.sqrt(one[1] / count) for unit, one in zip(units, rows, strict=True)])
        explained = _mean([_r2(one, count) for one in rows])
        loss = _mean([one[1] / count for one in rows])
        metrics = {"loss": loss, "mae": mae, "rmse": rmse, "r2": explained, "samples": int(count)}
        words = f"held-out MAE {mae:.4g}, RMSE {rmse:.4g}, R2 {explained:.4f}"
        return Figures(metrics, words, -loss)

    def describe(self) -> Description:
        """Numbers out, by their names."""
        answer = TensorSpec(name="numbers", dtype=DType.FLOAT32, shape=["batch", len(self._spread.mean)])
        return self._input.described(artifact.Task.REGRESSION, answer)


def _r2(row: list[float], count: float) -> float:
    _, squares, total, total_squares = row
    variance = total_squares - total * total / count
    return 1 - squares / variance if variance > 1e-12 * max(1.0, total_squares) else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
