"""A float model that is smaller, where nothing could be quantized: published as what it is, and trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slipway.api.common.artifact import WEIGHTS_FILE
from slipway.api.quantization.status import Outcome
from tests.unit.quantize import jobs
from workloads import artifact
from workloads.models.from_artifact import load_model
from workloads.onnx import file, session

SMALLER: dict[str, Any] = {
    "compression": [{"method": "channels", "ratio": 0.25}],
    "ladder": ["dynamic"],
    "exclude": {"opTypes": ["Conv", "Gemm"]},
    "calibration": {"dataset": {"name": "digits", "limit": 320}, "samples": 40},
    "qat": {"epochs": 1, "learningRate": 0.002},
}
WIDE: dict[str, Any] = {"accuracy": {"maxDrop": 0.5, "dropType": "absolute"}}


@pytest.mark.slow
def test_a_smaller_float_model_is_called_compressed_and_can_be_trained_on(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path / "first", digits, **SMALLER, gates=WIDE)
    found = jobs.run(job)
    assert (found.outcome, found.selected) == (Outcome.COMPRESSED, "compressed-1-channels")
    stored = artifact.read(str(job.spec.output.uri))
    assert WEIGHTS_FILE in {each.path for each in stored.description.files}
    module, _ = load_model(stored.folder, stored.digest)
    x = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x)).numpy()
    opened = session.session(file.load(stored.folder / "model.onnx"))
    np.testing.assert_allclose(opened.run(None, {opened.get_inputs()[0].name: x})[0], wanted, atol=1e-4)


def test_a_smaller_float_model_that_fails_the_size_gate_is_not_published(digits: Path, tmp_path: Path) -> None:
    """The float model was published with the smaller one's architecture and number of parameters."""
    job = jobs.job(tmp_path, digits, **SMALLER, gates={**WIDE, "size": {"maxRatio": 0.1}}, onFailure="keep-float")
    found = jobs.run(job)
    assert found.outcome is Outcome.KEPT_FLOAT
    row = next(row for row in found.comparison if row.name == "compressed-1-channels")
    assert row.passed  # the ladder goes on from it
    assert "; not published by itself: size: 0." in row.message, row
    published, given = artifact.read(str(job.spec.output.uri)).description, artifact.read(digits).description
    assert (published.architecture, published.parameters) == (given.architecture, given.parameters)
