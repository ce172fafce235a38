"""What is to be trained?

Reads a TrainingJob document, the same file on a laptop and at /etc/slipway/job.json in a pod.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.api.artifact import JobReference
from slipway.api.common import API_VERSION
from slipway.api.recipe import Recipe
from slipway.api.trainingjob import TrainingJobSpec, spec_problems
from workloads.errors import BadInput

KIND = "TrainingJob"


@dataclass(frozen=True)
class Overrides:
    """What a person may change on the command line; None leaves the document as it is."""

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
        """Marks unfinished files of this job, so that its next attempt can remove them."""
        return (self.reference.uid or self.reference.name)[:36]


def read_job(path: Path, overrides: Overrides) -> Job:
    """The job of a JSON or YAML file. BadInput names every problem of the document."""
    document = _document(path)
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


def _document(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: neither JSON nor YAML ({error})") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path}: not a TrainingJob document")
    return document


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
