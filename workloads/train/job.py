"""Job of the trainer, read and checked.

Reads a TrainingJob document, the same file on a laptop and at /etc/slipway/job.json in a pod.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.api.common.artifact import JobReference
from slipway.api.common.types import API_VERSION
from slipway.api.training.recipe import Recipe
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from workloads.errors import BadInput

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
    document = document_of(path)
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        found = f"{document.get('apiVersion')} {document.get('kind')}"
        raise BadInput(f"{path}: expected apiVersion {API_VERSION} and kind {KIND}, found {found}")
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise BadInput(f"{path}: metadata.name is missing")
    if not isinstance(spec, dict):
        raise BadInput(f"{path}: spec is missing")
    parsed, problems = spec_problems(metadata["name"], _overridden(spec, overrides))
    if parsed is None:
        raise BadInput("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
    if parsed.recipe is None:
        raise BadInput(
            f"{path}: spec.recipe is missing; this job brings its own command and is not for the built-in trainer"
        )
    reference = JobReference(
        kind=KIND, name=metadata["name"], namespace=metadata.get("namespace"), uid=metadata.get("uid")
    )
    return Job(reference, parsed, parsed.recipe)


def document_of(path: Path) -> dict[str, Any]:
    """The only TrainingJob of a JSON or YAML file, or its only document. BadInput in words for anything else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    try:
        found = [json.loads(text)] if text.lstrip().startswith("{") else list(yaml.safe_load_all(text))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{path}: neither JSON nor YAML ({error})") from error
    documents = [one for one in found if one is not None]
    jobs = [one for one in documents if isinstance(one, dict) and one.get("kind") == KIND]
    if len(jobs) > 1:
        raise BadInput(
            f"{path}: holds {len(jobs)} documents of kind {KIND}: put the one that is meant into its own file"
        )
    chosen = jobs[0] if jobs else documents[0] if len(documents) == 1 else None
    if not isinstance(chosen, dict):
        raise BadInput(f"{path}: not a TrainingJob document")
    return chosen


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
        spec["output"] = {**(spec.get("output") or {}), "uri": _as_uri(overrides.output)}
    if overrides.checkpoint is not None:
        spec["checkpoint"] = {**(spec.get("checkpoint") or {}), "uri": _as_uri(overrides.checkpoint)}
    return spec


def _as_uri(text: str) -> str:
    return text if "://" in text else Path(text).absolute().as_uri()
