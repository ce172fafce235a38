"""`--explain`: what a job's records say of its ladder; nothing is run and nothing is written."""

import json
from pathlib import Path

from slipway.api.quantization.ladder import Hardware, Rung, climbing
from workloads import storage
from workloads.errors import BadInput, Corrupt
from workloads.onnx import saturation
from workloads.pod.progress import Poster
from workloads.quantize.algorithms.target import impossible
from workloads.quantize.context import Context
from workloads.quantize.job import Job
from workloads.quantize.ladder.candidates import FLOAT
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.report import explanation, figures
from workloads.quantize.report.explanation import Reason
from workloads.quantize.report.figures import REPORT_JSON
from workloads.quantize.workdir import Work


def explain(job: Job) -> str:
    """Explanation of a job's ladder in words, from its work folder, its published report, or its target."""
    root = storage.local_path(job.work_uri)
    folder = None if root is None else root / job.folder
    if folder is not None and folder.is_dir():
        context = Context(job, Work.at(job.work_uri, job.folder), ProgressReporter(Poster({})))
        if context.work.read(f"candidates/{FLOAT}") is not None:
            return explanation.text(figures.explained(context))
    published = _published(job)
    return explanation.text(_ahead(job)) if published is None else explanation.text(published)


def _published(job: Job) -> list[Reason] | None:
    """Reasons from the report in the artifact, for a work folder that is elsewhere; None without such a report."""
    try:
        report = json.loads((Path(storage.fetch(job.spec.output.uri)) / REPORT_JSON).read_text())
    except (BadInput, Corrupt, OSError, json.JSONDecodeError):
        return None
    if report["job"].get("name") != job.reference.name:
        return None
    rows = report.get("explanation", [])
    return [Reason(row["rung"], row["verdict"], row["why"], tuple(row["candidates"])) for row in rows]


def _ahead(job: Job) -> list[Reason]:
    """Reasons ahead of a job that has not begun: what its target has."""
    spec = job.spec
    hardware = saturation.hardware() if spec.target.hardware is Hardware.AUTO else spec.target.hardware
    target = spec.target.model_copy(update={"hardware": hardware})
    found = []
    for rung in climbing(spec.ladder, spec.optimize_for):
        reason = impossible(Rung(rung), target, spec.weights.bits)
        verdict = explanation.SKIPPED if reason else explanation.DUE
        found.append(Reason(rung, verdict, reason or f"for {target.runtime} on {hardware}"))
    return found
