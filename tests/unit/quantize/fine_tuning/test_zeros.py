"""What was pruned stays pruned: the zeros of magnitude and 2:4 are zeros of the exported integers, QAT included."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from workloads.models.from_artifact import load_model
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning import qat
from workloads.quantize.run import run_stage

FEW = {"dataset": {"name": "digits", "limit": 640}, "samples": 60}
PRUNED: dict[str, Any] = {
    "ladder": ["static-per-channel", "qat"],
    "calibration": FEW,
    "gates": {"accuracy": {"maxDrop": 0.9, "dropType": "absolute"}},
    # A rate at which every weight that is not held moves.
    "qat": {"epochs": 2, "learningRate": 0.002},
}
STEPS = ({"method": "magnitude", "ratio": 0.8}, {"method": "two-four"})


def integers(model: onnx.ModelProto) -> dict[tuple[int, ...], np.ndarray]:
    """Int8 weights by shape: the names of QAT's graph are its own."""
    found = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return {array.shape: array for array in found if array.dtype == np.int8 and array.ndim > 1}


@pytest.mark.parametrize("step", [pytest.param(STEPS[0], marks=pytest.mark.slow), STEPS[1]], ids=["magnitude", "2:4"])
def test_qat_keeps_every_zero(digits: Path, tmp_path: Path, step: dict[str, Any]) -> None:
    """Training moved them, too: nothing held in QAT what the stage before it had held."""
    job = jobs.job(tmp_path, digits, **PRUNED, compression=[step])
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.COMPRESS):
        run_stage(job, jobs.quiet(), stage, 0)
    context = Context(job, jobs.work_of(job), jobs.quiet())
    before, _ = load_model(*context.trainable)
    found = integers(qat.train(context))
    layers = {name: w for name, w in before.state_dict().items() if w.ndim > 1 and bool((w == 0).any())}
    assert len(layers) > 2
    for name, weight in layers.items():
        zero = (weight == 0).numpy()
        whole = found[zero.shape]
        assert (whole[zero] == 0).all(), name
        # What was left has been rounded, and is not gone.
        assert (whole[~zero] != 0).mean() > 0.8, name


def test_static_integers_keep_every_zero(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **{**PRUNED, "ladder": ["static-per-channel"]}, compression=[STEPS[1]])
    assert jobs.run(job).selected.startswith("static-per-channel")
    folder = jobs.work_of(job).folder
    published = onnx.load(next(folder.glob("candidates/static*.onnx")))
    smaller = onnx.load(folder / "smaller.onnx")
    floats = {a.shape: a for a in map(numpy_helper.to_array, smaller.graph.initializer) if a.ndim > 1}
    sparse = 0
    for shape, whole in integers(published).items():
        zero = floats[shape] == 0
        sparse += int(zero.any())
        assert (whole[zero] == 0).all()
    assert sparse > 1
