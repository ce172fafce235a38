"""The stage compress: a row of its own, the ladder goes on from what passes, and a killed one ends the same."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from slipway.api.quantizationstatus import Outcome, Stage
from tests.unit.quantize import jobs
from workloads import artifact, storage
from workloads.errors import BadInput
from workloads.quantize import training
from workloads.quantize.candidates import candidate_of
from workloads.quantize.context import Context
from workloads.quantize.run import run_stage
from workloads.quantize.voice import Voice
from workloads.train.progress import Poster

SMALLER: dict[str, Any] = {
    "compression": [{"method": "channels", "ratio": 0.25}],
    "ladder": ["dynamic"],
    "gates": {"accuracy": {"maxDrop": 0.1, "dropType": "absolute"}},
    "qat": {"epochs": 2, "learningRate": 0.002},
}


class Dies(Voice):
    """Ends the process, as far as Python can see, in the middle of training."""

    def track(self, items: Any, what: str, done: int = 0) -> Iterator[Any]:
        for number, item in enumerate(super().track(items, what, done)):
            if what == "training" and number == 5:
                raise KeyboardInterrupt
            yield item


def test_the_ladder_starts_from_the_smaller_model(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **SMALLER)
    found = jobs.run(job)
    assert found.outcome is Outcome.QUANTIZED
    assert [row.name for row in found.comparison] == ["float", "compressed", "dynamic"]
    assert found.selected == "dynamic"
    reference, smaller, dynamic = (row.size_bytes or 0 for row in found.comparison)
    assert reference > 1.5 * smaller > 1.5 * dynamic
    assert all(row.accuracy and row.accuracy > 0.8 for row in found.comparison)
    published = artifact.read(str(job.spec.output.uri)).description
    assert published.architecture.changes
    assert published.parameters < 0.7 * artifact.read(digits).description.parameters
    models = [jobs.work_of(job).path("float.onnx"), storage.fetch(job.spec.output.uri) / "model.onnx"]
    weights = [sum(math.prod(t.dims) for t in onnx.load(path).graph.initializer) for path in models]
    assert weights[1] < 0.7 * weights[0]
    assert published.lineage.recipe["compression"] == [{"method": "channels", "ratio": 0.25, "exclude": []}]


def test_what_costs_too_much_is_a_row_and_the_ladder_starts_from_the_float_model(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harsh = {"compression": [{"method": "magnitude", "ratio": 0.99}], "gates": {"accuracy": {"maxDrop": 0.02}}}
    job = jobs.job(tmp_path, digits, **{**SMALLER, **harsh, "qat": {"epochs": 1, "learningRate": 1e-6}})
    found = jobs.run(job)
    assert "the ladder starts from the float model: drop +" in capsys.readouterr().out
    assert [(row.name, row.passed) for row in found.comparison][1:] == [("compressed", False), ("dynamic", True)]
    assert artifact.read(str(job.spec.output.uri)).description.architecture.changes is None


def test_a_step_that_does_not_fit_is_a_row_with_words(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": [{"method": "channels", "ratio": 0.99}]})
    found = jobs.run(job)
    assert "leaves none of the" in found.comparison[1].message
    assert found.selected == "dynamic"


def test_interrupted_in_its_training_it_ends_with_the_same_model(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    digests = []
    for name, voices in (("whole", [jobs.quiet()]), ("interrupted", [Dies(Poster({})), jobs.quiet()])):
        job = jobs.job(tmp_path / name, digits, **SMALLER)
        for stage in (Stage.EXPORT, Stage.BASELINE):
            run_stage(job, jobs.quiet(), stage, 0)
        for voice in voices:
            if isinstance(voice, Dies):
                with pytest.raises(KeyboardInterrupt):
                    run_stage(job, voice, Stage.COMPRESS, 0)
            else:
                run_stage(job, voice, Stage.COMPRESS, 0)
        context = Context(job, jobs.work_of(job), jobs.quiet())
        assert candidate_of(context, "compressed").accuracy
        digests.append(storage.sha256_of(context.work.path("candidates/compressed.onnx")))
    assert "compress: resumed at step 5 of" in capsys.readouterr().out
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"calibration": None}, "compression is followed by training on calibration.dataset: set it"),
        ({"target": {"runtime": "litert"}, "ladder": ["static-per-channel"]}, "compression is not for litert here"),
        (
            {"compression": [{"method": "two-four"}, {"method": "channels", "ratio": 0.5}]},
            "so channels and low-rank go first",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(digits: Path, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        jobs.job(tmp_path, digits, **{**SMALLER, **fields})
