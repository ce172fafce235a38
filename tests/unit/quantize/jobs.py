"""Jobs for the tests: a document with a few fields changed, run in this process."""

from pathlib import Path
from typing import Any

import yaml

from slipway.api.quantization.status import StageResult
from workloads.pod.progress import Poster
from workloads.quantize.job import Job, Overrides, read_job
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.run import run_all
from workloads.quantize.workdir import Work

DIGITS = {"dataset": {"name": "digits"}}
# A ladder that is climbed to its third rung: 2-bit weights need the worst layers in float.
# Written out, so that no gain is asked: three of its few layers in float make it no smaller.
NARROW: dict[str, Any] = {
    "weights": {"bits": 2},
    "sensitivity": {"maxExclusions": 3},
    "ladder": ["static-per-tensor", "static-per-channel", "smooth-quant", "bias-correction", "mixed-precision", "qat"],
}


def document(folder: Path, source: Path, /, **spec: Any) -> Path:
    """Write a QuantizationJob for a model; fields of `spec` replace the defaults, None removes one."""
    fields: dict[str, Any] = {
        "model": {"uri": source.as_uri()},
        "calibration": {**DIGITS, "samples": 100},
        "evaluation": DIGITS,
        "benchmark": {"batchSizes": [1], "iterations": 10, "warmup": 1},
        "output": {"uri": (folder / "out").as_uri()},
        **spec,
    }
    content = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "QuantizationJob",
        "metadata": {"name": "digits-int8"},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def job(folder: Path, source: Path, /, **spec: Any) -> Job:
    """The same, read back."""
    return read_job(document(folder, source, **spec), Overrides())


def quiet() -> ProgressReporter:
    """Posts nowhere."""
    return ProgressReporter(Poster({}))


def run(found: Job) -> StageResult:
    """All stages."""
    return run_all(found, quiet())


def work_of(found: Job) -> Work:
    """The job's records."""
    return Work.at(found.work_uri, found.folder)
