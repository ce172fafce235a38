"""Distillation: a small model learns the answers of a trained one beside the labels (Hinton, Vinyals, Dean 2015).

The loss is (1 - alpha) * loss + alpha * T^2 * KL(softmax(teacher / T) || softmax(student / T)): soft targets shrink
gradients by T^2, which the factor makes up for (section 2 of the paper, whose cross entropy with soft targets differs
by the teacher's entropy, which no gradient sees). Used by the trainer and by QAT.
"""

import torch
from torch import nn

from slipway.api.common.artifact import Preprocessing, Signature
from slipway.api.training.compression import Distillation
from workloads.errors import BadInput
from workloads.models.from_artifact import load_model


def soft_loss(outputs: torch.Tensor, wanted: torch.Tensor, temperature: float) -> torch.Tensor:
    """Distillation loss: a scalar, the mean over all rows of logits [..., classes]; 0 when they agree.

    `wanted`: the teacher's logits.
    """
    student, teacher = (
        nn.functional.log_softmax((logits.float() / temperature).flatten(0, -2), dim=1) for logits in (outputs, wanted)
    )
    return temperature**2 * nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


class Teacher:
    """A trained model, in evaluation mode, whose weights do not change."""

    def __init__(self, model: nn.Module, choice: Distillation) -> None:
        self.model, self._choice = model.eval().requires_grad_(False), choice

    def loss(self, loss: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Mix the task's own loss with the distance from the teacher's answers to these inputs, weighted by alpha."""
        with torch.no_grad():
            wanted = self.model(inputs)
        alpha = self._choice.alpha
        return (1 - alpha) * loss + alpha * soft_loss(outputs, wanted, self._choice.temperature)


def load(
    choice: Distillation,
    signature: Signature,
    labels: list[str],
    preprocessing: Preprocessing | None,
    device: torch.device,
) -> Teacher:
    """The teacher, for a student with this signature. BadInput for one that answers something else."""
    model, described = load_model(choice.teacher.uri, choice.teacher.digest)
    where = f"distillation.teacher {choice.teacher.uri}"
    if described.labels != labels:
        raise BadInput(f"{where} has other labels: it knows {_some(described.labels)}, the data has {_some(labels)}")
    if described.signature != signature:
        raise BadInput(
            f"{where} takes {_shapes(described.signature)}, and the student {_shapes(signature)}: train it on such data"
        )
    if described.preprocessing != preprocessing:
        raise BadInput(f"{where} wants its pictures prepared in another way than the student: train it on this data")
    return Teacher(model.to(device), choice)


def _some(labels: list[str]) -> str:
    return f"{len(labels)} ({', '.join(labels[:3])}{', ...' if len(labels) > 3 else ''})"


def _shapes(signature: Signature) -> str:
    inputs, outputs = (
        ", ".join(f"{spec.dtype.value} {spec.shape}" for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    )
    return f"{inputs} and answers {outputs}"
