"""What the tests of workloads share: job documents, and the server that real processes are forked from."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Before anything imports torch: threads that spin on busy cores are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.unit.train import processes


@pytest.fixture(scope="session", autouse=True)
def _processes() -> None:
    processes.prepare()


def digits_job(folder: Path, **recipe: Any) -> dict[str, Any]:
    """A job that trains the CNN on digits; artifact and checkpoints go below `folder`."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "ml", "uid": "6f1c4a52-6f7e-4f0a-9a53-1f2f3c4d5e6f"},
        "spec": {
            "recipe": {
                "model": {"name": "cnn", "width": 8},
                "dataset": {"name": "digits"},
                "globalBatchSize": 64,
                "optimizer": {"learningRate": 0.05},
                **recipe,
            },
            "output": {"uri": (folder / "model").as_uri()},
            "checkpoint": {"uri": (folder / "checkpoints").as_uri(), "everySteps": 15},
        },
    }


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a job document and returns its path."""

    def write(**recipe: Any) -> Path:
        path = tmp_path / "job.json"
        path.write_text(json.dumps(digits_job(tmp_path, **recipe)))
        return path

    return write
