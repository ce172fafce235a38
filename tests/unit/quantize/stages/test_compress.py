"""The stage compress: a row of its own, the ladder goes on from what passes, and a killed one ends the same."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from slipway.api.quantization.status import Outcome, Stage
from tests.unit.quantize import jobs
from workloads import artifact, storage
from workloads.compress import masks
from workloads.errors import BadInput
from workloads.pod.progress import Poster
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning import loop
from workloads.quantize.ladder.candidates import candidate_of
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.run import run_stage
from workloads.quantize.stages import step_gain

SMALLER: dict[str, Any] = {
    "compression": [{"method": "channels", "ratio": 0.25}],
    "ladder": ["dynamic"],
    "gates": {"accuracy": {"maxDrop": 0.1, "dropType": "absolute"}},
    "calibration": {"dataset": {"name": "digits", "limit": 640}, "samples": 60},
    "qat": {"epochs": 1, "learningRate": 0.002},
}


class Dies(ProgressReporter):
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
    assert [row.name for row in found.comparison] == ["float", "compressed-1-channels", "dynamic"]
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
    assert "the ladder starts from the float model: no step" in capsys.readouterr().out
    assert [(row.name, row.passed) for row in found.comparison][1:] == [
        ("compressed-1-magnitude", False),
        ("dynamic", True),
    ]
    assert artifact.read(str(job.spec.output.uri)).description.architecture.changes is None


def test_each_step_is_a_row_with_its_size_and_its_accuracy_before_and_after_training(
    digits: Path, tmp_path: Path
) -> None:
    """The second is too harsh and undone: the third takes from what the first left."""
    steps = [
        {"method": "channels", "ratio": 0.25},
        {"method": "channels", "ratio": 0.8},
        {"method": "magnitude", "ratio": 0.5},
    ]
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": steps})
    found = jobs.run(job)
    rows = {row.name: row for row in found.comparison}
    whole, first, harsh, last = (
        rows[name] for name in ("float", "compressed-1-channels", "compressed-2-channels", "compressed-3-magnitude")
    )
    assert (first.passed, harsh.passed, last.passed) == (True, False, True)
    assert (whole.parameters or 0) > (first.parameters or 0) > (harsh.parameters or 0)
    assert (whole.flops or 0) > (first.flops or 0) > (harsh.flops or 0)
    assert (last.parameters, last.flops) == (first.parameters, first.flops)
    assert (whole.zeros, first.zeros) == (0, 0)
    assert 0.9 * 0.5 * (last.parameters or 0) < (last.zeros or 0) < 0.5 * (last.parameters or 0)
    assert whole.untrained is None
    assert all((row.untrained or 0) < (row.accuracy or 0) for row in (first, harsh))
    report = json.loads(jobs.work_of(job).path("report.json").read_text())
    assert [(row["candidate"], row["kept"]) for row in report["compression"]] == [
        ("compressed-1-channels", True),
        ("compressed-2-channels", False),
        ("compressed-3-magnitude", True),
    ]
    page = jobs.work_of(job).path("report.html").read_text()
    assert "<h2>Compression</h2>" in page
    assert "channels: 25% of the channels are removed" in page
    published = artifact.read(str(job.spec.output.uri)).description
    assert [step["method"] for step in published.lineage.recipe["compression"]] == ["channels", "magnitude"]
    assert published.parameters == last.parameters


def test_distillation_is_a_step_that_takes_nothing_away(digits: Path, tmp_path: Path) -> None:
    """It is trained after a harsh step that passes only because its gate is wide, and keeps that step's zeros."""
    steps = [{"method": "magnitude", "ratio": 0.9}, {"method": "distillation", "alpha": 0.9}]
    wide = {"accuracy": {"maxDrop": 0.9, "dropType": "absolute"}}
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": steps, "gates": wide})
    found = jobs.run(job)
    pruned, taught = found.comparison[1:3]
    assert taught.name == "compressed-2-distillation"
    assert (taught.parameters, taught.flops) == (pruned.parameters, pruned.flops)
    assert (taught.zeros or 0) == (pruned.zeros or 0) > 0.8 * (pruned.parameters or 0)
    assert taught.untrained == pruned.accuracy
    assert (taught.accuracy or 0) > (pruned.untrained or 0)


def test_a_killed_stage_goes_on_at_the_step_where_it_was(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [{"method": "channels", "ratio": 0.25}, {"method": "two-four"}]
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": steps})
    for stage in (Stage.EXPORT, Stage.BASELINE):
        run_stage(job, jobs.quiet(), stage, 0)
    hold = masks.hold
    with monkeypatch.context() as patch:
        patch.setattr(masks, "hold", lambda model, kept: hold(model, kept) if not kept else sys.exit(1))
        with pytest.raises(SystemExit):
            run_stage(job, jobs.quiet(), Stage.COMPRESS, 0)
    assert jobs.work_of(job).read("candidates/compressed-1-channels") is not None
    assert "channels: 25%" in capsys.readouterr().out
    assert run_stage(job, jobs.quiet(), Stage.COMPRESS, 0).comparison[2].passed
    said = capsys.readouterr().out
    assert "channels: 25%" not in said
    assert "compressed-1-channels:" not in said


def test_a_step_that_does_not_fit_is_a_row_with_words(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": [{"method": "channels", "ratio": 0.99}]})
    found = jobs.run(job)
    assert "leaves none of the" in found.comparison[1].message
    assert found.selected == "dynamic"


def test_interrupted_in_its_training_it_ends_with_the_same_model(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    digests = []
    once = {**SMALLER, "qat": {"epochs": 1, "learningRate": 0.002}}
    for name, voices in (("whole", [jobs.quiet()]), ("interrupted", [Dies(Poster({})), jobs.quiet()])):
        job = jobs.job(tmp_path / name, digits, **once)
        for stage in (Stage.EXPORT, Stage.BASELINE):
            run_stage(job, jobs.quiet(), stage, 0)
        for reporter in voices:
            if isinstance(reporter, Dies):
                with pytest.raises(KeyboardInterrupt):
                    run_stage(job, reporter, Stage.COMPRESS, 0)
            else:
                run_stage(job, reporter, Stage.COMPRESS, 0)
        context = Context(job, jobs.work_of(job), jobs.quiet())
        assert candidate_of(context, "compressed-1-channels").accuracy
        digests.append(storage.sha256_of(context.work.path("candidates/compressed-1-channels.onnx")))
    assert "compressed-1-channels: resumed at step 5 of" in capsys.readouterr().out
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"calibration": None}, "compression is followed by training on calibration.dataset: set it"),
        (
            {"target": {"runtime": "litert"}, "ladder": ["static-per-channel"]},
            "compression is not for litert here, nor for hls",
        ),
        (
            {"compression": [{"method": "two-four"}, {"method": "channels", "ratio": 0.5}]},
            "so channels and low-rank go first",
        ),
        ({"compression": [{"method": "two-four", "alpha": 0.5}]}, "alpha says how much of the loss is distillation's"),
    ],
)
def test_what_cannot_be_is_refused_in_words(digits: Path, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        jobs.job(tmp_path, digits, **{**SMALLER, **fields})


@pytest.mark.slow
def test_a_structured_step_that_is_slower_on_the_target_is_undone(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer FLOPs are no gain by themselves: latency is measured once, and is in the row."""
    asked: list[str] = []
    monkeypatch.setattr(step_gain, "latency_against", lambda _, base, name: asked.append(f"{base} {name}") or 0.5)
    steps = [{"method": "channels", "ratio": 0.25}, {"method": "magnitude", "ratio": 0.2}]
    job = jobs.job(tmp_path, digits, **{**SMALLER, "compression": steps, "qat": {"epochs": 1, "learningRate": 0.001}})
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.COMPRESS):
        found = run_stage(job, jobs.quiet(), stage, 0)
    slower, zeroed = found.comparison[1:3]
    assert asked == ["float compressed-1-channels"]
    assert not slower.passed
    assert "0.50 times as fast as float, more slower than smaller" in slower.message
    assert zeroed.parameters == found.comparison[0].parameters
