"""What the tests of this folder share: chats about capitals, and jobs that tune the small model on them."""

import json
from pathlib import Path
from typing import Any

from tests.models.language import small

UID = "6f1c4a52-6f7e-4f0a-9a53-1f2f3c4d5e6f"
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Norway": "Oslo", "Greece": "Athens",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Peru": "Lima", "Cuba": "Havana",
}  # fmt: skip


def chats(count: int = 8) -> list[dict[str, Any]]:
    """Questions and answers, of a few different lengths."""
    return [
        {
            "messages": [
                {
                    "role": "user",
                    "content": f"{'please ' * (number % 3)}what is the capital of {land}, number {number}?",
                },
                {"role": "assistant", "content": f"the capital of {land} is {town}{', of course' * (number % 2)}."},
            ]
        }
        for number in range(count)
        for land, town in CAPITALS.items()
    ]


def lines(path: Path, records: list[dict[str, Any]]) -> str:
    """Write records as JSON lines. Returns the file's URI."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path.as_uri()


def job(folder: Path, every: int = 3, output: dict[str, Any] | None = None, **recipe: Any) -> Path:
    """A job of two epochs with LoRA; artifact and checkpoints go below the folder. Returns the document's path."""
    dataset = {"name": "sft", "uri": lines(folder / "chats.jsonl", chats()), "maxLength": 64}
    whole = {
        "model": {"name": "causal-lm", "uri": small.folder().as_uri()},
        "dataset": {**dataset, **recipe.pop("dataset", {})},
        "epochs": 2,
        "globalBatchSize": 8,
        "optimizer": {"name": "adamw", "learningRate": 0.01},
        "peft": {"r": 4, "loraDropout": 0.1},
        **recipe,
    }
    spec = {
        "recipe": {name: value for name, value in whole.items() if value is not None},
        "output": {"uri": (folder / "model").as_uri(), **(output or {})},
        "checkpoint": {"uri": (folder / "checkpoints").as_uri(), "everySteps": every},
    }
    named = {"name": "tune", "namespace": "ml", "uid": UID}
    path = folder / "job.json"
    path.write_text(
        json.dumps({"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": named, "spec": spec})
    )
    return path


def saved(config: Path, output: str, words: str) -> bool:
    """Say whether the log holds the words and a checkpoint is whole: that comes after them, beside the loop."""
    return words in output and any((config.parent / "checkpoints").rglob("step-*/manifest.json"))
