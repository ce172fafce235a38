"""Objects that each example of manifests/examples is rendered to, and their digests: `make rendered` writes them.

A change that only moves code leaves the digests alone; one of behaviour shows in `git diff` which examples it changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.cli.preview import preview
from slipway.config import read_config
from slipway.inferenceservice.activator.activator import activator
from slipway.inferenceservice.service import KIND, Platform, identify

Object = dict[str, Any]
ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "manifests/examples"
DIGESTS = Path(__file__).with_name("digests.json")
CONFIG = replace(read_config({}), trainer_image="trainer", quantizer_image="quantizer", server_image="server")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def documents() -> dict[str, list[Object]]:
    """Documents of ours by the example's file name."""
    read = {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted(FOLDER.glob("*.yaml"))}
    ours = {name: [one for one in found if one and "slipway" in one["apiVersion"]] for name, found in read.items()}
    return {name: found for name, found in ours.items() if found}


def rendered() -> dict[str, list[Object]]:
    """Objects that the operator would create at first, by example; a service's activator is always among them."""
    found: dict[str, list[Object]] = {}
    for name, ours in documents().items():
        made = preview(ours, CONFIG, NOW)
        assert not [problem for one in made for problem in one.problems], name
        found[name] = [manifest for one in made for manifest in one.creates]
        found[name] += [_activator(one) for one in ours if one["kind"] == KIND]
    return found


def _activator(document: Object) -> Object:
    metadata = {"namespace": "default", **document["metadata"], "uid": "not-yet", "generation": 1}
    spec = InferenceServiceSpec.model_validate(document["spec"])
    return activator(identify({**document, "metadata": metadata}, spec), Platform(CONFIG.server_image))


def digests() -> dict[str, dict[str, str]]:
    """Digest of each object, by example and by the object's kind and name."""
    return {name: {_name(one): _digest(one) for one in made} for name, made in rendered().items()}


def _name(manifest: Object) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _digest(manifest: Object) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__" and "--write" in sys.argv:
    DIGESTS.write_text(json.dumps(digests(), indent=1, sort_keys=True) + "\n")
