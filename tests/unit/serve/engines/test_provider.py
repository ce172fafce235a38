"""A service's engine.provider reaches ONNX Runtime; one that is not there is refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.serve import onnx_models
from workloads.errors import BadInput
from workloads.serve.loading import load_and_warm_up
from workloads.serve.settings import from_document


def service(folder: Path, provider: str) -> Path:
    onnx_models.mlp(folder / "model.onnx", (4, 8, 2))
    engine = {"name": "onnxruntime", "provider": provider, "threads": 1}
    spec = {"predictor": {"model": {"uri": folder.as_uri()}, "engine": engine}}
    path = folder / "service.json"
    path.write_text(json.dumps({"kind": "InferenceService", "metadata": {"name": "m"}, "spec": spec}))
    return path


def test_the_provider_asked_for_computes(tmp_path: Path) -> None:
    settings = from_document(service(tmp_path, "CPUExecutionProvider"))
    assert settings.providers == ("CPUExecutionProvider",)
    loaded = load_and_warm_up(settings)
    assert loaded.engines[0].details["providers"] == "CPUExecutionProvider"
    loaded.engines[0].close()


def test_one_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    """ONNX Runtime itself would compute on the CPU instead, with a line in a log that nobody reads."""
    with pytest.raises(BadInput, match=r"no QNNExecutionProvider here, only .*CPUExecutionProvider"):
        load_and_warm_up(from_document(service(tmp_path, "QNNExecutionProvider")))
