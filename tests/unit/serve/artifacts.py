"""A small trained artifact as the trainer writes it, with random weights: tests need its form, not its accuracy."""

from __future__ import annotations

import json
from pathlib import Path

from slipway.api.common import artifact as api
from tests.unit.serve import onnx_models
from workloads import artifact, storage


def detector(folder: Path) -> Path:
    """An ONNX artifact for object detection: one box, x and y from 16 to 48 of 64."""
    folder.mkdir(parents=True)
    onnx_models.detector(folder / "model.onnx", (16, 16, 48, 48), 0.75)
    tensor, dtype = api.TensorSpec, api.DType.FLOAT32
    description = api.Artifact(
        task=api.Task.OBJECT_DETECTION,
        architecture=api.Architecture(name="detector", arguments={}),
        signature=api.Signature(
            inputs=[tensor(name="image", dtype=dtype, shape=["batch", 1, 64, 64])],
            outputs=[
                tensor(name="boxes", dtype=dtype, shape=["batch", 1, 4]),
                tensor(name="scores", dtype=dtype, shape=["batch", 1, 1]),
            ],
        ),
        preprocessing=api.Preprocessing(channels=1, height=64, width=64, mean=[0.0], std=[1.0]),
        labels=["cat"],
        parameters=0,
        lineage=api.Lineage(job=api.JobReference(kind="TrainingJob", name="test")),
        created="2026-01-01T00:00:00Z",
        files=storage.digests_of(folder),
    )
    (folder / api.DESCRIPTION_FILE).write_text(json.dumps(description.wire()))
    return folder


def vowels(folder: Path) -> Path:
    """An ONNX artifact for texts, whose tokens are bytes: "many" where every second of 8 bytes is an a, else "few"."""
    folder.mkdir(parents=True)
    onnx_models.counting(folder / "model.onnx", ord("a"), 8)
    tensor = api.TensorSpec
    description = api.Artifact(
        task=api.Task.TEXT_CLASSIFICATION,
        architecture=api.Architecture(name="onnx", arguments={}),
        signature=api.Signature(
            inputs=[tensor(name="tokens", dtype=api.DType.INT64, shape=["batch", 8])],
            outputs=[tensor(name="logits", dtype=api.DType.FLOAT32, shape=["batch", 2])],
        ),
        text=api.TextProcessing(tokenizer="bytes", max_tokens=8, padding_token=256, tokens="tokens", padded=True),
        labels=["few", "many"],
        parameters=0,
        lineage=api.Lineage(job=api.JobReference(kind="TrainingJob", name="test")),
        created="2026-01-01T00:00:00Z",
        files=storage.digests_of(folder),
    )
    (folder / api.DESCRIPTION_FILE).write_text(json.dumps(description.wire()))
    return folder


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
