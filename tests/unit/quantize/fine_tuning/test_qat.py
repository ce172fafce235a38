"""Quantization-aware training: what it gains over PTQ, and that an interrupted one ends with the same weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from workloads import storage
from workloads.pod.progress import Poster
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning import loop, qat
from workloads.quantize.ladder.candidates import candidate_of
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.run import run_all, run_stage

# The gate of half a point is out of reach for 3-bit PTQ of this model and within that of training.
LADDER = {
    "weights": {"bits": 3},
    "ladder": ["static-per-channel", "qat"],
    "gates": {"accuracy": {"maxDrop": 0.005, "dropType": "absolute"}},
    "qat": {"epochs": 3, "learningRate": 0.002},
}


class Dies(ProgressReporter):
    """Ends the process, as far as Python can see, in the middle of training."""

    def __init__(self, steps: int) -> None:
        super().__init__(Poster({}))
        self._left = iter(range(steps))

    def track(self, items: Any, what: str, done: int = 0) -> Iterator[Any]:
        for item in super().track(items, what, done):
            if what == "training" and next(self._left, None) is None:
                raise KeyboardInterrupt
            yield item


def test_a_few_steps_are_resumed_to_the_same_model_of_three_bits(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    few = {"dataset": {"name": "digits", "limit": 320}, "samples": 60}
    models = []
    for name, voices in (("whole", [jobs.quiet()]), ("interrupted", [Dies(2), jobs.quiet()])):
        job = jobs.job(tmp_path / name, digits, weights={"bits": 3}, ladder=["qat"], calibration=few)
        run_stage(job, jobs.quiet(), Stage.EXPORT, 0)
        for reporter in voices:
            context = Context(job, jobs.work_of(job), reporter)
            if isinstance(reporter, Dies):
                with pytest.raises(KeyboardInterrupt):
                    qat.train(context)
            else:
                models.append(qat.train(context))
    assert "qat: resumed at step 2 of" in capsys.readouterr().out
    assert models[0].SerializeToString(deterministic=True) == models[1].SerializeToString(deterministic=True)
    weights = [numpy_helper.to_array(tensor) for tensor in models[0].graph.initializer if len(tensor.dims) > 1]
    assert [weight.dtype for weight in weights] == [np.int8] * 4
    assert {int(np.abs(weight.astype(int)).max()) for weight in weights} == {3}


@pytest.mark.slow
def test_training_repairs_what_calibration_cannot(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.job(tmp_path / "whole", digits, **LADDER)
    assert jobs.run(job).selected == "qat"
    context = Context(job, jobs.work_of(job), jobs.quiet())
    static = [candidate_of(context, f"static-per-channel-{method}") for method in ("min-max", "mse")]
    trained = candidate_of(context, "qat")
    assert not any(candidate.passed for candidate in static)
    assert trained.passed
    assert (trained.accuracy or 0) > max(candidate.accuracy or 0 for candidate in static)

    interrupted = jobs.job(tmp_path / "interrupted", digits, **LADDER)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run_all(interrupted, Dies(40))
    assert jobs.run(interrupted).selected == "qat"
    models = [storage.fetch(found.spec.output.uri) / "model.onnx" for found in (job, interrupted)]
    assert models[0].read_bytes() == models[1].read_bytes()
