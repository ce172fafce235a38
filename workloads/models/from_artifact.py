"""Models out of artifacts: the registered architecture, its compressed widths, and the weights, without pickle."""

from pathlib import Path
from typing import TYPE_CHECKING

from slipway.api.common.artifact import DESCRIPTION_FILE, WEIGHTS_FILE, Artifact
from workloads import models
from workloads.artifact import read
from workloads.errors import BadInput, Corrupt

if TYPE_CHECKING:
    from torch import nn


def load_model(where: str | Path, expected: str | None = None) -> "tuple[nn.Module, Artifact]":
    """The torch module in evaluation mode, on the CPU, with the artifact's description.

    Errors as `read`, and Corrupt for wrong weights.
    """
    from safetensors.torch import load_file

    from workloads import tied_tensors  # imports torch

    stored = read(where, expected)
    architecture = stored.description.architecture
    if WEIGHTS_FILE not in {file.path for file in stored.description.files}:
        raise BadInput(
            f"{where}: its {DESCRIPTION_FILE} lists no {WEIGHTS_FILE}, so there is nothing that may be loaded"
        )
    try:
        model = models.build(architecture.name, architecture.arguments)
        if architecture.changes:
            from workloads.models.compressed import rebuilt  # imports torch

            rebuilt(model, architecture.changes)
        model.load_state_dict(tied_tensors.completed(model, load_file(stored.folder / WEIGHTS_FILE)))
    except (TypeError, RuntimeError, FileNotFoundError) as error:
        raise Corrupt(
            f"{where}: the weights do not fit {architecture.name} {architecture.arguments} ({error})"
        ) from error
    return model.eval(), stored.description
