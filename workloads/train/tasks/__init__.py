"""Tasks of training: the model's input of batches, a loss of outputs, figures of sums."""

from workloads.train.tasks.choice import for_data
from workloads.train.tasks.task import (
    Counting,
    Description,
    Figures,
    Task,
)

__all__ = [
    "Counting",
    "Description",
    "Figures",
    "Task",
    "for_data",
]
