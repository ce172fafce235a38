"""A detector in a QuantizationJob: judged by mAP, with all that is told of it; trained by the command first."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from slipway.api.quantization.status import Outcome
from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import environment
from workloads import artifact, storage
from workloads.quantize.context import Context
from workloads.quantize.ladder import metric
from workloads.quantize.ladder.candidates import candidate_of

JOB = """
apiVersion: slipway.dev/v1alpha1
kind: TrainingJob
metadata: {name: shapes}
spec:
  recipe:
    model: {name: yolo, width: 8}
    dataset: {name: shapes, limit: 1536}
    epochs: 5
    globalBatchSize: 32
    optimizer: {name: adamw, learningRate: 0.004}
    schedule: {name: cosine, warmupSteps: 30}
"""
SHAPES = {"dataset": {"name": "shapes"}}
BOXES: dict[str, Any] = {
    "calibration": {**SHAPES, "samples": 64, "methods": ["min-max"]},
    "evaluation": {**SHAPES, "metric": "average-precision-50"},
    "gates": {"accuracy": {"maxDrop": 0.02, "dropType": "absolute"}},
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "job.yaml").write_text(JOB)
    command = [sys.executable, "-m", "workloads", "train", "--config", str(folder / "job.yaml")]
    subprocess.run([*command, "--output", str(folder / "model")], check=True, env=environment(), capture_output=True)
    return folder / "model"


def test_the_ladder_finds_what_must_stay_float(detector: Path, tmp_path: Path) -> None:
    """Pixels and scores in one tensor of eight bits leave nothing of the scores: their joining has to stay float."""
    job = jobs.job(tmp_path, detector, **BOXES)
    found = jobs.run(job)
    assert found.outcome is Outcome.QUANTIZED
    assert found.selected.startswith("mixed-precision-")
    rows = {row.name: row for row in found.comparison}
    reference, static, chosen = rows["float"], rows["static-per-channel-min-max"], rows[found.selected]
    assert (reference.accuracy or 0) > 0.5
    assert (static.drop_low or 0) > 0.02
    assert (chosen.drop or 0) <= 0.02
    assert (chosen.drop_low or 0) <= (chosen.drop or 0) <= (chosen.drop_high or 0)
    assert (chosen.size_bytes or 0) < 0.5 * (reference.size_bytes or 0)
    assert chosen.agreement is None
    report = json.loads(jobs.work_of(job).path("report.json").read_text())
    assert report["statistics"].startswith("accuracy: mAP@0.5")
    graph = onnx.load(jobs.work_of(job).path("float.onnx")).graph
    kept = next(row for row in report["candidates"] if row["name"] == found.selected)["floatNodeNames"]
    assert "Concat" in {node.op_type for node in graph.node if node.name in kept}
    context = Context(job, jobs.work_of(job), jobs.quiet())
    published = onnx.load(storage.fetch(str(job.spec.output.uri)) / "model.onnx")
    assert (
        metric.worth(context, metric.predict(context, published))[0] == candidate_of(context, found.selected).accuracy
    )
    described = artifact.read(str(job.spec.output.uri)).description
    assert described.metrics["accuracy"] == chosen.accuracy
    assert described.lineage.dataset is not None


def test_what_detectors_have_not_is_said(detector: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, detector, **{**BOXES, "ladder": ["qat"]})
    assert jobs.run(job).outcome is Outcome.KEPT_FLOAT
    report = json.loads(jobs.work_of(job).path("report.json").read_text())
    assert report["rungs"][0]["skipped"] == "training with quantization is for classifiers, and this is a detector"
