"""A small trained artifact as the trainer writes it, with random weights: tests need its form, not its accuracy."""

from __future__ import annotations

from pathlib import Path

from slipway.api import artifact as api
from workloads import artifact

LABELS = [f"class {number}" for number in range(10)]


def small_cnn(folder: Path) -> tuple[Path, str]:
    """float32 `image` [batch, 1, 8, 8] to `logits` [batch, 10]. Returns the folder and the digest."""
    import torch

    from workloads import models

    torch.manual_seed(3)
    arguments = {"channels": 1, "height": 8, "width": 8, "classes": 10, "features": 4}
    module = models.build("cnn", arguments)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    description = api.Artifact(
        task=api.Task.IMAGE_CLASSIFICATION,
        architecture=api.Architecture(name="cnn", arguments=arguments),
        signature=api.Signature(
            inputs=[api.TensorSpec(name="image", dtype=api.DType.FLOAT32, shape=["batch", 1, 8, 8])],
            outputs=[api.TensorSpec(name="logits", dtype=api.DType.FLOAT32, shape=["batch", 10])],
        ),
        preprocessing=api.Preprocessing(channels=1, height=8, width=8, mean=[0.3], std=[0.4]),
        labels=LABELS,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        lineage=api.Lineage(job=api.JobReference(kind="TrainingJob", name="test")),
        created="2026-01-01T00:00:00Z",
        files=[],
    )
    _, digest = artifact.write(str(folder), "test", description, module.state_dict(), [])
    return folder, digest
