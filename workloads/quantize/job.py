"""Quantization job: the model, and how it is to be quantized.

Reads a QuantizationJob document, the same file on a laptop and at /etc/slipway/job.json in a pod.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import JobReference
from slipway.api.quantization.quantizationjob import FIXED_FIELDS, QuantizationJobSpec, spec_problems, work_uri
from workloads.errors import BadInput
from workloads.pod import job_document

KIND = "QuantizationJob"


@dataclass(frozen=True)
class Overrides:
    """Fields that a person may change on the command line; None leaves the document as it is."""

    model: str | None = None
    output: str | None = None
    work: str | None = None


@dataclass(frozen=True)
class Job:
    """One run: who asked for it, and the checked spec, with a model that has a URI."""

    reference: JobReference
    spec: QuantizationJobSpec

    @property
    def model_uri(self) -> str:
        """URI of the float model."""
        return str(self.spec.model.uri)

    @property
    def folder(self) -> str:
        """The job's own folder below the work URI.

        Results of another spec under the same name must not be taken for ours.
        """
        if self.reference.uid is not None:
            return f"{self.reference.name}-{self.reference.uid[:8]}"
        wire = self.spec.wire()
        fixed = json.dumps({field: wire.get(field) for field in FIXED_FIELDS if field != "work"}, sort_keys=True)
        return f"{self.reference.name}-{hashlib.sha256(fixed.encode()).hexdigest()[:8]}"

    @property
    def work_uri(self) -> str:
        """URI of the folder that holds the job's own."""
        return work_uri(self.spec)

    @property
    def writer(self) -> str:
        """Mark of this job's unfinished files, by which its next attempt can remove them."""
        return (self.reference.uid or self.reference.name)[:36]


def read_job(path: Path, overrides: Overrides) -> Job:
    """The job of a JSON or YAML file. BadInput names every problem of the document."""
    reference, spec = job_document.reference_and_spec(path, KIND)
    parsed, problems = spec_problems(reference.name, _overridden(spec, overrides))
    if parsed is None:
        raise BadInput("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
    if parsed.model.uri is None:
        raise BadInput(
            f"{path}: spec.model.from names a job of a cluster; outside of one say where its artifact is: --model"
        )
    return Job(reference, parsed)


def _overridden(spec: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    spec = dict(spec)
    if overrides.model is not None:
        spec["model"] = {"uri": job_document.as_uri(overrides.model)}
    if overrides.output is not None:
        spec["output"] = {"uri": job_document.as_uri(overrides.output)}
    if overrides.work is not None:
        spec["work"] = {"uri": job_document.as_uri(overrides.work)}
    return spec
