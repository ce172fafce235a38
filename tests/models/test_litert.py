"""LiteRT by its own packages: every rung it has, from a trained artifact to a judged and published .tflite.

They get a virtual environment of their own under ~/.cache/slipway, since they are larger than everything else together.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slipway.api.quantization.ladder import Rung
from tests.conformance.server import Server
from tests.models.command import ROOT
from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import environment, made, trained
from workloads.quantize.algorithms.target import RECIPES
from workloads.serve.datatypes import Array

pytestmark = pytest.mark.slow
__all__ = ["made", "trained"]
VENV = Path.home() / ".cache" / "slipway" / "litert"


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with the extra `litert`."""
    if not (VENV / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([VENV / "bin" / "python", "-m", "pip", "install", "-q", f"{ROOT}[litert]"], check=True)
        (VENV / "ready").touch()
    return VENV / "bin" / "python"


@pytest.mark.parametrize("rung", RECIPES)
def test_a_rung_of_litert(trained: Path, tmp_path: Path, python: Path, rung: Rung) -> None:
    fields = {
        "target": {"runtime": "litert", "hardware": "arm64"},
        "ladder": [rung.value],
        "gates": {"accuracy": {"maxDrop": 0.02}},
        "onFailure": "fail",
    }
    document = jobs.document(tmp_path, trained, **fields)
    command = [python, "-m", "workloads", "quantize", "--config", str(document)]
    own = {**environment(), "TMPDIR": os.fspath(tmp_path)}
    done = subprocess.run(command, env=own, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    model = (tmp_path / "out" / "model.tflite").read_bytes()
    assert model[4:8] == b"TFL3"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    reference, candidate = report["candidates"]
    assert candidate["sizeBytes"] == len(model) < 0.45 * reference["sizeBytes"]
    assert candidate["accuracy"] > reference["accuracy"] - 0.02
    assert any("judged and measured in LiteRT" in warning for warning in report["warnings"])


def test_what_a_job_published_is_served(trained: Path, tmp_path: Path, python: Path) -> None:
    """The served answers are those of the trained model, within what 8 bits may change."""
    pytest.importorskip("ai_edge_litert")
    document = jobs.document(
        tmp_path,
        trained,
        target={"runtime": "litert", "hardware": "arm64"},
        ladder=[next(iter(RECIPES)).value],
        gates={"accuracy": {"maxDrop": 0.02}},
        onFailure="fail",
    )
    command = [python, "-m", "workloads", "quantize", "--config", str(document)]
    own = {**environment(), "TMPDIR": os.fspath(tmp_path)}
    done = subprocess.run(command, env=own, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [_labels(folder, tmp_path / log) for folder, log in ((trained, "float"), (tmp_path / "out", "litert"))]
    assert [engine for engine, _ in answers] == ["torch", "litert"]
    assert np.mean(answers[0][1] == answers[1][1]) > 0.9


def _labels(folder: Path, log: Path) -> tuple[str, Array]:
    """The engine's name, and the best class of each of some rows that go over the socket in batches."""
    server = Server(log, "--model", str(folder), "--name", "m").wait()
    try:
        described = server.ask("GET", "/v2/models/m").json
        (tensor,) = described["inputs"]
        rows = np.random.default_rng(0).random((64, *tensor["shape"][1:]), dtype=np.float32)
        found = []
        for batch in np.split(rows, 4):
            given = {"name": tensor["name"], "datatype": "FP32", "shape": list(batch.shape), "data": batch.tolist()}
            answer = server.infer({"inputs": [given]})
            assert answer.status == 200, answer.body
            output = answer.json["outputs"][0]
            found.append(np.reshape(output["data"], output["shape"]).argmax(axis=1))
        return described["properties"]["engine"], np.concatenate(found)
    finally:
        server.stop()
