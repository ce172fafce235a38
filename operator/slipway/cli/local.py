"""The same manifest as processes on this machine: which commands of `python -m workloads`, in which order?

Called by `slipway local`. Pure but for the files that it is told to write: every document gets one of its own, with
outputs below one folder here instead of claims in a cluster.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.cli.lineage import source_of

Object = dict[str, Any]
ORDER = ("TrainingJob", "QuantizationJob", "InferenceService")


class NotLocalError(Exception):
    """The manifest cannot run here; the text says why."""


@dataclass(frozen=True)
class Step:
    """One command, and what it is for."""

    title: str
    argv: list[str]


def steps(documents: Sequence[Object], output: Path, processes: int, more: Sequence[str]) -> list[Step]:
    """The commands, sources first. `more` goes to each of them. Writes the documents below `output`."""
    ours = sorted((d for d in documents if d.get("kind") in ORDER), key=lambda d: ORDER.index(d["kind"]))
    if not ours:
        raise NotLocalError(f"the file holds no {', '.join(ORDER)}")
    output.mkdir(parents=True, exist_ok=True)
    return [_step(document, output, processes, more) for document in ours]


def environment() -> dict[str, str]:
    """For the commands: the packages are found as they are found here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _step(document: Object, output: Path, processes: int, more: Sequence[str]) -> Step:
    name, kind = document["metadata"]["name"], document["kind"]
    title, config = f"{kind} {name}", output / f"{kind.lower()}-{name}.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    artifact = str(output / name)
    module = [sys.executable, "-m", "workloads"]
    if kind == "TrainingJob":
        if not document["spec"].get("recipe"):
            raise NotLocalError(f"{title} runs an image of its own: start its program yourself; only recipes run here")
        options = ["--config", str(config), "--output", artifact, "--checkpoint", f"{artifact}-checkpoints"]
        torchrun = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "workloads"]
        return Step(title, [*module, *(torchrun if processes > 1 else []), "train", *options, *more])
    model = _model(document, output)
    if kind == "QuantizationJob":
        options = ["--config", str(config), "--output", artifact, "--work", f"{artifact}-work"]
        return Step(title, [*module, "quantize", *options, *(["--model", model] if model else []), *more])
    if not model:
        raise NotLocalError(f"{title} names no model that lies here")
    return Step(title, [*module, "serve", "--model", model, "--name", name, *more])


def _model(document: Object, output: Path) -> str:
    """Where the model of a document lies on this machine; empty when its own URI is to be used."""
    source = source_of(document)
    if source is not None:
        return str(output / source[1])
    spec = document["spec"]
    uri = str((spec.get("model") or (spec.get("predictor") or {}).get("model") or {}).get("uri") or "")
    return "" if document["kind"] == "QuantizationJob" else uri
