"""LiteRT by its own packages: every rung it has, from a trained artifact to a judged and published .tflite.

They get a virtual environment of their own under ~/.cache/slipway, since they are larger than everything else together.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.api.quantization.ladder import Rung
from tests.models.command import ROOT
from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import environment, made, trained
from workloads.quantize.algorithms.target import RECIPES

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
