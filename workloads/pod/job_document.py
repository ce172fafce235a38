"""Document of a job: read from a JSON or YAML file, and checked as far as every kind is alike.

The same file is on a laptop and at /etc/slipway/job.json in a pod.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from slipway.api.common.artifact import JobReference
from slipway.api.common.types import API_VERSION
from workloads.errors import BadInput


def read(path: Path, kind: str) -> dict[str, Any]:
    """The only document of this kind in a JSON or YAML file, or its only document. BadInput for anything else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    try:
        found = [json.loads(text)] if text.lstrip().startswith("{") else list(yaml.safe_load_all(text))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{path}: neither JSON nor YAML ({error})") from error
    documents = [one for one in found if one is not None]
    jobs = [one for one in documents if isinstance(one, dict) and one.get("kind") == kind]
    if len(jobs) > 1:
        raise BadInput(
            f"{path}: holds {len(jobs)} documents of kind {kind}: put the one that is meant into its own file"
        )
    chosen = jobs[0] if jobs else documents[0] if len(documents) == 1 else None
    if not isinstance(chosen, dict):
        raise BadInput(f"{path}: not a {kind} document")
    return chosen


def reference_and_spec(path: Path, kind: str) -> tuple[JobReference, dict[str, Any]]:
    """Reference and spec of the job of a file, the spec as it is written. BadInput where it has neither."""
    document = read(path, kind)
    if document.get("apiVersion") != API_VERSION or document.get("kind") != kind:
        found = f"{document.get('apiVersion')} {document.get('kind')}"
        raise BadInput(f"{path}: expected apiVersion {API_VERSION} and kind {kind}, found {found}")
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise BadInput(f"{path}: metadata.name is missing")
    if not isinstance(spec, dict):
        raise BadInput(f"{path}: spec is missing")
    reference = JobReference(
        kind=kind, name=metadata["name"], namespace=metadata.get("namespace"), uid=metadata.get("uid")
    )
    return reference, spec


def as_uri(text: str) -> str:
    """URI of a path on this machine; what is a URI stays as it is."""
    return text if "://" in text else Path(text).absolute().as_uri()
