"""A small real model: the digits CNN, trained by the trainer once per session, exported once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.api.quantization import Calibration, Evaluation
from slipway.api.recipe import DatasetChoice, DatasetName

JOB = """
apiVersion: slipway.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits}
spec:
  recipe:
    model: {name: cnn, width: 8}
    dataset: {name: digits}
    epochs: 8
    globalBatchSize: 64
"""
DIGITS = DatasetChoice(name=DatasetName.DIGITS)
CALIBRATION = Calibration(dataset=DIGITS, samples=100, batch_size=16)
EVALUATION = Evaluation(dataset=DIGITS)


def environment() -> dict[str, str]:
    """Of a `python -m workloads` process: one thread, nothing of a cluster."""
    root = Path(__file__).resolve().parents[3]
    path = f"{root / 'operator'}:{root}"
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact's folder, about 96 % accurate."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "job.yaml").write_text(JOB)
    command = [
        sys.executable,
        "-m",
        "workloads",
        "train",
        "--config",
        str(folder / "job.yaml"),
        "--output",
        str(folder / "digits"),
    ]
    subprocess.run(command, check=True, env=environment(), capture_output=True)
    return folder / "digits"


@pytest.fixture(scope="session")
def exported(trained: Path):
    """The float model as ONNX."""
    from workloads import artifact
    from workloads.export import from_torch

    model, description = artifact.load_model(trained)
    return from_torch.export(model, description.signature)


@pytest.fixture(scope="session")
def activations(trained: Path, exported):
    """Statistics of the inner tensors on 100 training images, in one pass."""
    from workloads import artifact
    from workloads.export import onnx_file
    from workloads.quantize.collect import Observer
    from workloads.quantize.samples import calibration_samples, choose

    samples = calibration_samples(
        CALIBRATION, onnx_file.inputs_of(exported), artifact.read(trained).description.preprocessing
    )
    observer, statistics = Observer(exported), {}
    for batch in samples.batches(choose(len(samples), 100, 0), 16):
        observer.observe(samples.read(batch).feeds, statistics)
    return statistics
