"""The scripts of this folder, each as the command of a TrainingJob with output and checkpoint: by `python -c`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# Arguments of the script; what the launcher must be in a pod; the accuracy that it reaches, or the loss.
SCRIPTS: dict[str, tuple[list[str], str, tuple[str, float]]] = {
    "min_gpt": ([], "torchrun", ("loss", 0.9)),
    "hf_trainer": ([], "torchrun", ("accuracy", 0.9)),
    "vision_resnet": ([], "torchrun", ("accuracy", 0.9)),
    "ddp_mnist": ([], "torchrun", ("accuracy", 0.85)),
    "deepspeed_cifar": (["--stage", "1"], "deepspeed", ("accuracy", 0.7)),
    "lightning_module": ([], "torchrun", ("accuracy", 0.9)),
}


def job(name: str, text: bool = True, processes: int = 1) -> dict[str, Any]:
    """The document. `text`: the script itself travels in the command, so that any pod has it."""
    arguments, launcher, _ = SCRIPTS[name]
    path = FOLDER / f"{name}.py"
    command = ["python", "-u", "-c", path.read_text()] if text else ["python", "-u", str(path)]
    plain = name.replace("_", "-")
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": plain},
        "spec": {
            "launcher": launcher,
            "numNodes": 1,
            "numProcPerNode": processes,
            "trainer": {"command": command, "args": arguments, "env": [{"name": "OMP_NUM_THREADS", "value": "1"}]},
            "output": {"uri": f"pvc://slipway-artifacts/{plain}"},
            "checkpoint": {"uri": f"pvc://slipway-artifacts/{plain}-states"},
        },
    }


def reached(name: str, metrics: dict[str, float]) -> bool:
    """Whether the script has learned."""
    figure, wanted = SCRIPTS[name][2]
    return metrics[figure] <= wanted if figure == "loss" else metrics[figure] >= wanted
