"""Training by Slipway's own trainer, one process by torchrun: precisions, torch.compile, FSDP2, ZeRO-3 with offload."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.gpu.step import Row, Skip

# Name, what the recipe adds, strategy, library that it needs.
RUNS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("fp32", {}, "DDP", "torch"),
    ("bf16", {"precision": "bf16"}, "DDP", "torch"),
    ("fp16 with a scaler", {"precision": "fp16"}, "DDP", "torch"),
    ("bf16 compiled", {"precision": "bf16", "compile": True}, "DDP", "torch"),
    ("bf16 FSDP2", {"precision": "bf16"}, "FSDP2", "torch"),
    ("ZeRO-3 with offload", {"precision": "bf16"}, "ZeRO3Offload", "deepspeed"),
)
SECONDS = 60


def document(folder: Path, recipe: dict[str, Any], strategy: str, small: bool) -> dict[str, Any]:
    """A TrainingJob of a CNN on pictures, or of a small one on a few."""
    samples, width, batch = (64, 4, 32) if small else (8192, 64, 512)
    arguments = {"samples": str(samples), "channels": "1", "height": "28", "width": "28"}
    common = {
        "model": {"name": "cnn", "width": width},
        "dataset": {"name": "synthetic", "arguments": arguments},
        "globalBatchSize": batch,
        "epochs": 1 if small else 3,
        "optimizer": {"name": "adamw", "learningRate": 0.001},
    }
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "gpu"},
        "spec": {
            "recipe": {**common, **recipe},
            "strategy": {"name": strategy},
            "output": {"uri": (folder / "model").as_uri()},
            "checkpoint": {"uri": (folder / "checkpoints").as_uri(), "everySteps": 10**6},
        },
    }


def run(name: str, recipe: dict[str, Any], strategy: str, small: bool) -> Row:
    """One whole job; its last epoch's figures, or its last words."""
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as place:
        folder = Path(place)
        (folder / "job.json").write_text(json.dumps(document(folder, recipe, strategy, small)))
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
        command = [sys.executable, *launch, "-m", "workloads", "train", "--config", str(folder / "job.json")]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=SECONDS, env={**os.environ}
            )
        except subprocess.TimeoutExpired:
            return {"what": name, "ok": False, "why": f"longer than {SECONDS} s"}
        if done.returncode:
            words = [line for line in done.stderr.splitlines() if line.startswith("error:")]
            return {"what": name, "ok": False, "why": (words or done.stderr.splitlines() or ["no word"])[-1][:300]}
        last = json.loads((folder / "model/metrics.jsonl").read_text().splitlines()[-1])
    kept = ("samplesPerSecond", "peakMemoryBytes", "trainingLoss", "accuracy")
    return {"what": name, "ok": True, **{key: last.get(key) for key in kept}}


def rows(device: str, small: bool) -> list[Row]:
    """A row for each way to train. On a CPU those that need a GPU say so in the trainer's own words."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Skip("PyTorch finds no GPU")
    runs = [one for one in RUNS if not small or one[0] in {"bf16", "fp16 with a scaler", "bf16 FSDP2"}]
    made = []
    for name, recipe, strategy, library in runs:
        if importlib.util.find_spec(library) is None:
            made.append({"what": name, "ok": None, "why": f"{library} is not installed"})
        else:
            made.append(run(name, recipe, strategy, small))
    return made
