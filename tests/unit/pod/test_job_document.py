"""A document that a person wrote: trainer and quantizer take and refuse the same, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workloads.errors import BadInput
from workloads.pod import job_document
from workloads.quantize import job as quantizing
from workloads.train import job as training

READ: dict[str, Callable[[Path], Any]] = {
    "TrainingJob": lambda path: training.read_job(path, training.Overrides()),
    "QuantizationJob": lambda path: quantizing.read_job(path, quantizing.Overrides()),
}
SPECS = {
    "TrainingJob": {
        "numProcPerNode": 1,
        "recipe": {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "globalBatchSize": 64},
        "output": {"uri": "file:///tmp/a"},
    },
    "QuantizationJob": {
        "model": {"uri": "file:///tmp/a"},
        "output": {"uri": "file:///tmp/b"},
        "calibration": {"dataset": {"name": "digits"}},
        "evaluation": {"dataset": {"name": "digits"}},
    },
}
kinds = pytest.mark.parametrize("kind", READ)


def document(kind: str) -> str:
    head = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": "digits"}}
    return json.dumps({**head, "spec": SPECS[kind]})


@kinds
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "neither JSON nor YAML"),
        ("{", "neither JSON nor YAML"),
        ('{"a":' * 100_000, "neither JSON nor YAML"),
        ("- 1\n- 2\n", "not a KIND document"),
        ("", "not a KIND document"),
        ("kind: A\n---\nkind: B\n", "not a KIND document"),
        ("kind: KIND\n---\nkind: KIND\n", "holds 2 documents of kind KIND"),
        ("kind: KIND\n", "expected apiVersion slipway.dev/v1alpha1"),
        ("apiVersion: slipway.dev/v1alpha1\nkind: KIND\n", "metadata.name is missing"),
        ("apiVersion: slipway.dev/v1alpha1\nkind: KIND\nmetadata: {name: a}\n", "spec is missing"),
    ],
    ids=str,
)
def test_what_is_no_job_is_refused_in_words(tmp_path: Path, kind: str, text: str, words: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text.replace("KIND", kind))
    with pytest.raises(BadInput, match=words.replace("KIND", kind)):
        READ[kind](path)


@kinds
def test_bytes_that_are_no_text_are_refused_in_words(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="cannot be read"):
        READ[kind](path)


@kinds
@pytest.mark.parametrize("before", ["\ufeff", "\n", "---\nkind: Namespace\n---\n"], ids=["mark", "line", "another"])
def test_the_only_job_of_a_file_is_found(tmp_path: Path, kind: str, before: str) -> None:
    """The quantizer refused what an editor had marked as UTF-8, and a file with another object, as no YAML."""
    path = tmp_path / "job.yaml"
    path.write_text(before + document(kind), encoding="utf-8")
    assert READ[kind](path).reference.name == "digits"


def test_paths_become_uris_and_uris_stay() -> None:
    assert job_document.as_uri("pvc://claim/model") == "pvc://claim/model"
    assert job_document.as_uri("/tmp/model") == "file:///tmp/model"
