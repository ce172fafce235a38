"""The loop of QAT and of compression: what a model draws by itself belongs to the step, not to the process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from workloads import data
from workloads.pod.progress import Poster
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning import loop
from workloads.quantize.fine_tuning.loop import Phases, Training
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.run import run_stage

FEW = {"dataset": {"name": "digits", "limit": 320}, "samples": 60}


class Dies(ProgressReporter):
    """Ends the process, as far as Python can see, after two steps."""

    def track(self, items: Any, what: str, done: int = 0) -> Iterator[Any]:
        for number, item in enumerate(super().track(items, what, done)):
            if number == 2:
                raise KeyboardInterrupt
            yield item


def test_a_model_that_drops_out_is_resumed_to_the_same_weights(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MobileNet's classifier drops a fifth: after a kill, other fifths were dropped than without one."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    images = data.load(jobs.job(tmp_path, digits, calibration=FEW).spec.calibration.dataset)
    left = []
    for name, voices in (("whole", [jobs.quiet()]), ("interrupted", [Dies(Poster({})), jobs.quiet()])):
        job = jobs.job(tmp_path / name, digits, calibration=FEW, qat={"epochs": 1, "batchSize": 64})
        run_stage(job, jobs.quiet(), Stage.EXPORT, 0)
        for reporter in voices:
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(10))
            model(torch.zeros(1, *images.training.batch([0])[0].shape[1:]))
            context = Context(job, jobs.work_of(job), reporter)
            phases = Phases("own/state.safetensors", "own", lambda m: m.train(), lambda _: None, 0.0)
            run = Training(context, model, model, images, phases)
            if isinstance(reporter, Dies):
                with pytest.raises(KeyboardInterrupt):
                    run.run()
            else:
                run.run()
                left.append(model[2].weight.detach().clone())
    assert torch.equal(*left)
