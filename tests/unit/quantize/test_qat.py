"""Quantization-aware training: what it gains over PTQ, and that an interrupted one ends with the same weights."""

from pathlib import Path

import pytest

from tests.unit.quantize import jobs
from workloads import storage
from workloads.quantize import qat
from workloads.quantize.candidates import candidate_of
from workloads.quantize.context import Context
from workloads.quantize.voice import Voice

# The gate of three points is out of reach for 3-bit PTQ of this model and within that of training.
LADDER = {
    "weights": {"bits": 3},
    "ladder": ["static-per-channel", "qat"],
    "gates": {"accuracy": {"maxDrop": 0.005, "dropType": "absolute"}},
    "qat": {"epochs": 3, "learningRate": 0.002},
}


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
    monkeypatch.setattr(qat, "SAVE_EVERY", 0.0)
    steps = iter(range(40))

    class Dies(Voice):
        """Ends the process, as far as Python can see, in the middle of training."""

        def track(self, items, what, done=0):  # type: ignore[no-untyped-def]
            for item in super().track(items, what, done):
                if what == "training" and next(steps, None) is None:
                    raise KeyboardInterrupt
                yield item

    from workloads.quantize.run import run_all
    from workloads.train.progress import Poster

    with pytest.raises(KeyboardInterrupt):
        run_all(interrupted, Dies(Poster({})))
    assert jobs.run(interrupted).selected == "qat"
    models = [storage.fetch(found.spec.output.uri) / "model.onnx" for found in (job, interrupted)]
    assert models[0].read_bytes() == models[1].read_bytes()
