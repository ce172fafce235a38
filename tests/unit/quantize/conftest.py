"""A small real model: the digits CNN, trained by the trainer once per session, exported once."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.api.common.sources import DatasetChoice, DatasetName
from slipway.api.quantization.evaluation import Evaluation
from slipway.api.quantization.settings import Calibration
from slipway.api.quantization.status import StageResult
from tests.unit.quantize import jobs, small_processes, speeds
from tests.unit.train import processes

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


def sources() -> str:
    """Digest of the code that makes the model: a cached one is used only while nothing of it has changed."""
    folder = Path(__file__).resolve().parents[3] / "workloads"
    files = [p for name in ("train", "data", "models", "export") for p in sorted((folder / name).rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*files, folder / "artifact.py"])).hexdigest()[:16]


@pytest.fixture(scope="session", autouse=True)
def _processes() -> Iterator[None]:
    processes.prepare()
    with small_processes.forked():
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_speed_on_every_machine() -> Iterator[None]:
    with speeds.fixed():
        yield


@pytest.fixture(scope="session")
def made(pytestconfig: pytest.Config, _processes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `trained` and `exported`, kept in pytest's cache: making it takes most of the suite's time."""
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir("slipway-digits") / sources()
    if kept.is_dir():
        return kept
    from workloads.export.command import run

    folder = tmp_path_factory.mktemp("digits")
    (folder / "job.yaml").write_text(JOB)
    trained = str(folder / "trained")
    training = processes.done(["train", "--config", str(folder / "job.yaml"), "--output", trained], folder / "logs")
    assert training.returncode == 0, training.stderr
    shutil.rmtree(folder / "logs")
    _, same = run(trained, str(folder / "exported"))
    assert (same.samples, same.answers_equal) == (32, 1.0)
    staged = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copytree(folder, staged)
    with contextlib.suppress(OSError):  # another process was faster
        staged.rename(kept)
    return kept


@pytest.fixture(scope="session")
def trained(made: Path) -> Path:
    """The trainer's artifact, about 96 % accurate."""
    return made / "trained"


@pytest.fixture(scope="session")
def digits(made: Path) -> Path:
    """The same artifact with model.onnx beside the weights."""
    return made / "exported"


@pytest.fixture(scope="session")
def exported(digits: Path) -> Any:
    """The float model as ONNX."""
    from workloads.onnx import file

    return file.load(digits / "model.onnx")


@pytest.fixture(scope="session")
def activations(digits: Path, exported: Any) -> Any:
    """Statistics of the inner tensors on 100 training images, in one pass."""
    from workloads import artifact
    from workloads.onnx import file
    from workloads.onnx.samples.sources import calibration_samples, choose
    from workloads.quantize.calibration.observer import Observer

    preprocessing = artifact.read(digits).description.preprocessing
    samples = calibration_samples(CALIBRATION, file.inputs_of(exported), preprocessing)
    observer, statistics = Observer(exported), {}
    for batch in samples.batches(choose(len(samples), 100, 0), 16):
        observer.observe(samples.read(batch).feeds, statistics)
    return statistics


@pytest.fixture(scope="session")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[jobs.Job, StageResult]:
    """A job that climbs to mixed precision, in one process."""
    job = jobs.job(tmp_path_factory.mktemp("finished"), digits, **jobs.NARROW)
    with small_processes.interpreters():
        return job, jobs.run(job)
