"""A CNN trained here on Fashion-MNIST, at 3-bit weights: no calibration passes the gate, training with it does."""

from pathlib import Path
from typing import Any

import yaml

from tests.models.command import workloads

DATA = {"dataset": {"name": "fashion-mnist"}}


def prepare(folder: Path) -> dict[str, Any]:
    """The spec of a QuantizationJob whose model the trainer has just made."""
    recipe = {
        "model": {"name": "cnn", "width": 16},
        **DATA,
        "epochs": 6,
        "optimizer": {"learningRate": 0.05},
    }
    job = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "fashion"}}
    (folder / "train.yaml").write_text(yaml.safe_dump({**job, "spec": {"recipe": recipe}}))
    if not (folder / "trained").exists():
        workloads("train", "--config", str(folder / "train.yaml"), "--output", str(folder / "trained"))
    return {
        "model": {"uri": (folder / "trained").as_uri()},
        "calibration": {**DATA, "samples": 512},
        "evaluation": DATA,
        "weights": {"bits": 3},
        "ladder": ["static-per-tensor", "static-per-channel", "bias-correction", "qat"],
        "gates": {"accuracy": {"maxDrop": 0.01, "dropType": "absolute"}},
        "qat": {"epochs": 2, "learningRate": 0.001},
    }
