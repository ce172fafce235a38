"""Job of the trainer, read and checked.

Reads a TrainingJob document, the same file on a laptop and at /etc/slipway/job.json in a pod.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import JobReference
from slipway.api.training.recipe import Recipe
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from workloads.errors import BadInput
from workloads.pod import job_document

KIND = "TrainingJob"


@dataclass(frozen=True)
class Overrides:
    """Options of the command line that replace fields of the document; None leaves the document as it is."""

    output: str | None = None
    checkpoint: str | None = None
    epochs: int | None = None
    limit: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Job:
    """One run: who asked for it, and the checked spec. `recipe` is spec.recipe, which the built-in trainer needs."""

    reference: JobReference
    spec: TrainingJobSpec
    recipe: Recipe

    @property
    def folder(self) -> str:
        """The job's own folder below the checkpoint URI: a job created anew under an old name must not go on with old
        weights.
        """
        return self.reference.name if self.reference.uid is None else f"{self.reference.name}-{self.reference.uid[:8]}"

    @property
    def writer(self) -> str:
        """Mark of this job's unfinished files, so that its next attempt can remove them."""
        return (self.reference.uid or self.reference.name)[:36]


def read_job(path: Path, overrides: Overrides) -> Job:
    """The job of a JSON or YAML file. BadInput names every problem of the document."""
    reference, spec = job_document.reference_and_spec(path, KIND)
    parsed, problems = spec_problems(reference.name, _overridden(spec, overrides))
    if parsed is None:
        raise BadInput("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
    if parsed.recipe is None:
        raise BadInput(
            f"{path}: spec.recipe is missing; this job brings its own command and is not for the built-in trainer"
        )
    if parsed.recipe.model.from_ is not None:
        raise BadInput(
            f"{path}: recipe.model.from is looked up by the operator: set recipe.model.uri to what "
            f"{parsed.recipe.model.from_.training_job} made, to train it here"
        )
    return Job(reference, parsed, parsed.recipe)


def _overridden(spec: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    spec = dict(spec)
    recipe = dict(spec["recipe"]) if isinstance(spec.get("recipe"), dict) else None
    if recipe is not None:
        if overrides.epochs is not None:
            recipe["epochs"] = overrides.epochs
        if overrides.seed is not None:
            recipe["seed"] = overrides.seed
        if overrides.limit is not None and isinstance(recipe.get("dataset"), dict):
            recipe["dataset"] = {**recipe["dataset"], "limit": overrides.limit}
        spec["recipe"] = recipe
    if overrides.output is not None:
        spec["output"] = {**(spec.get("output") or {}), "uri": job_document.as_uri(overrides.output)}
    if overrides.checkpoint is not None:
        spec["checkpoint"] = {**(spec.get("checkpoint") or {}), "uri": job_document.as_uri(overrides.checkpoint)}
    return spec
