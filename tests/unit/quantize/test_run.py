"""Whole jobs on the digits CNN: what is published, how stages and shards agree with one process, refusals."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import onnxruntime
import pytest

from slipway.api.quantization.status import SHARDED, Outcome, Stage, StageResult
from tests.unit.quantize import jobs
from workloads import artifact, data, storage
from workloads.errors import BadInput
from workloads.quantize import command
from workloads.quantize.algorithms import qdq
from workloads.quantize.run import fitting, run_stage


def accuracy_of(model: Path) -> float:
    """Straight from the file, without any of our code but the data set's."""
    held_out = data.load(jobs_digits()).held_out
    pixels, labels = held_out.batch(range(len(held_out)))
    described = artifact.read(model).description
    assert described.preprocessing is not None
    mean, std = described.preprocessing.mean[0], described.preprocessing.std[0]
    session = onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"])
    scores = session.run(None, {"images": ((pixels / 255 - mean) / std).astype(np.float32)})[0]
    return float((scores.argmax(1) == labels).mean())


def jobs_digits() -> Any:
    from tests.unit.quantize.conftest import DIGITS

    return DIGITS


def test_what_is_published_is_what_was_judged(finished: tuple[jobs.Job, StageResult]) -> None:
    job, result = finished
    assert result.outcome is Outcome.QUANTIZED
    assert result.selected.startswith("mixed-precision-")
    folder = storage.fetch(job.spec.output.uri)
    stored = artifact.read(folder, result.artifact.digest if result.artifact else None)
    selected = next(row for row in result.comparison if row.name == result.selected)
    assert selected.passed
    assert accuracy_of(folder) == pytest.approx(selected.accuracy)
    assert stored.description.metrics["accuracy"] == pytest.approx(selected.accuracy)
    assert stored.description.lineage.sources[0].digest == result.source_digest
    assert {file.path for file in stored.description.files} == {"model.onnx", "report.html", "report.json"}


def test_the_ladder_stops_at_the_first_rung_that_passes(finished: tuple[jobs.Job, StageResult]) -> None:
    job, _ = finished
    report = json.loads((storage.fetch(job.spec.output.uri) / "report.json").read_text())
    tried = {row["rung"]: row for row in report["rungs"]}
    assert len(tried["static-per-tensor"]["candidates"]) == 4
    assert tried["qat"] == {"rung": "qat", "candidates": [], "skipped": "not needed"}
    mixed = [row for row in report["candidates"] if row["rung"] == "mixed-precision"]
    fewest = min(row["floatNodes"] for row in mixed if row["passed"])
    assert report["published"] == f"mixed-precision-{fewest}"
    assert mixed[0]["floatNodes"] == 1
    assert all(not row["passed"] for row in mixed if row["floatNodes"] < fewest)
    worst = [part["part"] for part in report["sensitivity"][:fewest]]
    assert next(row for row in mixed if row["floatNodes"] == fewest)["floatNodeNames"] == worst
    assert [part["sqnrDb"] for part in report["sensitivity"]] == sorted(
        part["sqnrDb"] for part in report["sensitivity"]
    )


class Page(HTMLParser):
    """Collects what a browser would fetch, and whether tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in {"src", "href", "data", "srcset"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_outside(finished: tuple[jobs.Job, StageResult]) -> None:
    text = (storage.fetch(finished[0].spec.output.uri) / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.open == []
    assert not re.search(r"url\((?!#)|xlink:href=\"(?!#)", text)  # within the page alone
    assert "@import" not in text
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) >= 5
    for plot in plots:
        minidom.parseString(plot)
        assert "nan" not in plot.lower()


def test_stages_in_pods_and_shards_give_the_same_model(
    digits: Path, tmp_path: Path, finished: tuple[jobs.Job, StageResult]
) -> None:
    job = jobs.job(tmp_path, digits, **jobs.NARROW, parallelism=3)
    ran, stage = [], Stage.EXPORT
    while stage is not None:
        for shard in reversed(range(3 if stage in SHARDED else 1)):
            result = run_stage(job, jobs.quiet(), stage, shard)
        ran.append(stage)
        stage = result.next
    assert ran == ["export", "baseline", "calibrate", "quantize", "sensitivity", "quantize", "benchmark", "publish"]
    assert digest_of(job) == digest_of(finished[0])
    again = run_stage(job, jobs.quiet(), Stage.QUANTIZE, 0)
    assert (again.next, again.artifact) == (None, result.artifact)


def digest_of(job: jobs.Job) -> str:
    return storage.sha256_of(storage.fetch(job.spec.output.uri) / "model.onnx")


def test_a_stage_that_comes_too_early_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="export is due"):
        run_stage(jobs.job(tmp_path, digits), jobs.quiet(), Stage.CALIBRATE, 0)


def test_termination_message(
    finished: tuple[jobs.Job, StageResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_TERMINATION_LOG", str(tmp_path / "log"))
    result = jobs.run(finished[0])
    text = (tmp_path / "log").read_text()
    assert len(text.encode()) <= 4096
    read = StageResult.model_validate_json(text)
    assert (read.outcome, read.selected, read.next) == (Outcome.QUANTIZED, result.selected, None)
    assert read.headline is not None
    assert re.fullmatch(r"\d+\.\d\d %", read.headline.float_)
    assert re.fullmatch(r"\d\.\d\dx smaller", read.headline.size)
    assert {"float", result.selected} <= {row.name for row in read.comparison}
    # Even with words of the longest kind the kubelet must not cut it.
    row = result.comparison[-1].model_copy(update={"message": "ü" * 1024})
    rows = [row.model_copy(update={"name": f"{i:03}" + "n" * 120}) for i in range(24)]
    long = result.model_copy(update={"comparison": rows, "warnings": ["ü" * 1024] * 16, "message": "ü" * 1024})
    assert len(fitting(long).encode()) <= 4096
    StageResult.model_validate_json(fitting(long))


def test_what_is_wrong_is_told_to_the_kubelet_in_its_own_words(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_TERMINATION_LOG", str(tmp_path / "log"))
    absent = tmp_path / "nowhere"
    assert command.main(["--config", str(jobs.document(tmp_path, digits)), "--model", str(absent)]) == 2
    assert (tmp_path / "log").read_text().startswith(f"{absent.as_uri()}: there is nothing at ")


UNREACHABLE = {"gates": {"size": {"maxRatio": 0.01}}, "ladder": ["static-per-tensor", "dynamic"]}


def test_nothing_ungated_is_published(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **UNREACHABLE)
    result = jobs.run(job)
    assert (result.outcome, result.selected) == (Outcome.KEPT_FLOAT, "float")
    folder = storage.fetch(job.spec.output.uri)
    assert (folder / "model.onnx").read_bytes() == (jobs.work_of(job).folder / "float.onnx").read_bytes()
    assert any("size" in row.message for row in result.comparison)


def test_failure_leaves_the_report_and_nothing_else(digits: Path, tmp_path: Path) -> None:
    path = jobs.document(tmp_path, digits, **UNREACHABLE, onFailure="fail")
    assert command.main(["--config", str(path)]) == 3
    assert not (tmp_path / "out").exists()
    assert (jobs.work_of(jobs.job(tmp_path, digits, **UNREACHABLE, onFailure="fail")).folder / "report.html").is_file()
    assert command.main(["--config", str(path)]) == 3


def test_an_onnx_file_with_arrays(digits: Path, tmp_path: Path) -> None:
    """ONNX is taken as it is; the rung qat is skipped in words; equal data earns a warning."""
    held_out = data.load(jobs_digits()).held_out
    pixels, labels = held_out.batch(range(150))
    np.savez(tmp_path / "data.npz", images=(pixels / 255).astype(np.float32), labels=labels)
    samples = {"uri": (tmp_path / "data.npz").as_uri()}
    fields = {"calibration": {**samples, "samples": 20}, "evaluation": samples, "gates": {"accuracy": {"maxDrop": 0.0}}}
    ladder = ["static-per-tensor", "qat"]
    job = jobs.job(tmp_path, digits / "model.onnx", **fields, ladder=ladder)
    result = jobs.run(job)
    assert any("are the same" in warning for warning in result.warnings)
    assert any("only 20 calibration samples" in warning for warning in result.warnings)
    report = json.loads((storage.fetch(job.spec.output.uri) / "report.json").read_text())
    assert report["source"]["export"] == "ONNX taken as it is"
    skipped = {row["rung"]: row["skipped"] for row in report["rungs"]}
    assert skipped["qat"] in {"not needed", "the source is ONNX: training needs an artifact with weights"}


def test_agreement_needs_no_labels(digits: Path, tmp_path: Path) -> None:
    pixels, _ = data.load(jobs_digits()).held_out.batch(range(120))
    np.savez(tmp_path / "data.npz", images=(pixels / 255).astype(np.float32))
    samples = {"uri": (tmp_path / "data.npz").as_uri()}
    # Weights of 7 bits, as a CPU without VNNI gets them, may change a few of the 120 answers.
    fields = {"ladder": ["dynamic"], "calibration": None, "gates": {"accuracy": {"maxDrop": 0.05}}}
    result = jobs.run(jobs.job(tmp_path, digits, **fields, evaluation={**samples, "metric": "agreement"}))
    assert result.outcome is Outcome.QUANTIZED
    assert result.headline is not None
    assert result.headline.quantized.endswith("% equal")
    job = jobs.job(tmp_path / "top1", digits, **fields, evaluation=samples)
    with pytest.raises(BadInput, match="metric agreement"):
        jobs.run(job)


def test_the_wrong_digest_is_refused(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"uri": digits.as_uri(), "digest": f"sha256:{'0' * 64}"}
    assert command.main(["--config", str(jobs.document(tmp_path, digits, model=model))]) == 1
    assert "expected sha256:000" in capsys.readouterr().err


def test_a_batch_length_burnt_into_the_graph(exported: Any, tmp_path: Path) -> None:
    """7 samples per call and 359 to judge: the last call is filled, and its surplus answers do not count."""
    model = type(exported)()
    model.CopyFrom(exported)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 7
    del model.graph.value_info[:]
    (tmp_path / "fixed.onnx").write_bytes(model.SerializeToString())
    held_out = data.load(jobs_digits()).held_out
    pixels, labels = held_out.batch(range(len(held_out)))
    np.savez(tmp_path / "data.npz", images=(pixels / 255).astype(np.float32), labels=labels)
    samples = {"uri": (tmp_path / "data.npz").as_uri()}
    job = jobs.job(
        tmp_path,
        tmp_path / "fixed.onnx",
        calibration={**samples, "samples": 30},
        evaluation=samples,
        ladder=["static-per-channel"],
    )
    result = jobs.run(job)
    assert (result.comparison[0].accuracy or 0) * len(labels) == pytest.approx(
        round((result.comparison[0].accuracy or 0) * len(labels))
    )
    assert (result.comparison[0].accuracy or 0) > 0.5
    described = artifact.read(job.spec.output.uri).description
    assert described.signature.inputs[0].shape == [7, 1, 8, 8]
    assert len(list((jobs.work_of(job).folder / "candidates").glob("*.onnx"))) <= 1


@pytest.mark.parametrize(("error", "kept"), [(RuntimeError("no kernel"), True), (OSError(28, "No space left"), False)])
def test_a_candidate_pays_for_its_own_faults_only(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: bool
) -> None:
    """What the library cannot do is a verdict; what the machine cannot do now is tried again by the next attempt."""
    fields = {"ladder": ["dynamic"], "calibration": None}
    job = jobs.job(tmp_path, digits, **fields)
    with monkeypatch.context() as broken:

        def fails(*_: object) -> None:
            raise error

        broken.setattr(qdq, "dynamic", fails)
        if kept:
            assert jobs.run(job).outcome is Outcome.KEPT_FLOAT
            return
        with pytest.raises(OSError, match="No space left"):
            jobs.run(job)
    assert jobs.run(job).outcome is Outcome.QUANTIZED


def test_the_default_ladder_tries_all_cheap_rungs_and_measures_each_once(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits)
    result = jobs.run(job)
    report = json.loads((storage.fetch(job.spec.output.uri) / "report.json").read_text())
    tried = {row["rung"]: row for row in report["rungs"]}
    cheap = ("static-per-tensor", "static-per-channel", "dynamic", "weight-only-int8")
    assert all(tried[rung]["candidates"] for rung in cheap)
    assert tried["qat"]["skipped"] == "not needed"
    assert result.outcome is Outcome.QUANTIZED
    on_front = {row["name"] for row in report["candidates"] if row["pareto"]}
    assert on_front
    assert on_front <= {row["name"] for row in report["candidates"] if row.get("passed")}
    kept = {path.name: path.read_text() for path in (jobs.work_of(job).folder / "latency").glob("*.json")}
    passed = [row for row in report["candidates"][1:] if row["passed"]]
    assert passed
    assert all(f"{row['name']}.json" in kept and row["speedup"] for row in passed)
    (jobs.work_of(job).folder / "published.json").unlink()
    assert jobs.run(job).selected == result.selected
    assert kept == {path.name: path.read_text() for path in (jobs.work_of(job).folder / "latency").glob("*.json")}
