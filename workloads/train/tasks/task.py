"""Protocol of a task: the model's input of batches, a loss of outputs, figures of sums, and its words in artifact.json.

One file per task; choice.py says which one fits the data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from slipway.api.common import artifact
from slipway.api.common.artifact import Preprocessing, Signature, TextProcessing
from workloads.data.sample_order import Batch
from workloads.train.world import World


@dataclass(frozen=True)
class Figures:
    """Quality of a model on held-out data. `words` say it in a line; a higher `score` is better."""

    metrics: dict[str, float]
    words: str
    score: float


@dataclass(frozen=True)
class Description:
    """Description of this task's model for artifact.json."""

    task: artifact.Task
    signature: Signature
    preprocessing: Preprocessing | None = None
    labels: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """What else belongs into the artifact, by name."""
    text: TextProcessing | None = None


@runtime_checkable
class Counting(Protocol):
    """Protocol of a task whose loss needs to know all batches of a step before the first."""

    def begin(self, batches: Sequence[Batch], world: World) -> None:
        """Look at a step's batches of this process; called by all processes together."""


class Task(Protocol):
    """Protocol of a task, as loop and evaluation call it."""

    tokens: int
    """Tokens of a sample; 0 where samples have none."""

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        """A loader's batch, on the device, as the model's input."""

    def loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """A scalar, the mean over the batch, in float32."""

    def sums(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Values that `figures` needs, added up over samples; the same number of values for any batch."""

    def figures(self, sums: list[float]) -> Figures:
        """Figures of a model, from the sums over all held-out samples."""

    def describe(self) -> Description:
        """Description of the model for artifact.json."""
