"""`serve --build-only`, what the operator's Job runs: a real engine into the cache, found by whoever comes later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.serve import onnx_models
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import cache, engine
from workloads.serve.loading import options_for
from workloads.serve.model import load
from workloads.serve.settings import Settings, from_document

REPOSITORY = Path(__file__).parents[4]
pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A claim with a model on it, mounted as the operator mounts it."""
    monkeypatch.setenv("SLIPWAY_PVC_ROOT", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    onnx_models.mlp(folder / "model.onnx", (8, 16, 3))
    return folder


def document(folder: Path, **engine_fields: object) -> Path:
    predictor = {
        "model": {"uri": "pvc://models/model.onnx"},
        "engine": {"name": "auto", "cache": {"uri": "pvc://models/engines"}, **engine_fields},
        "batching": {"maxBatchSize": 4},
    }
    path = folder / "service.json"
    path.write_text(
        json.dumps({"kind": "InferenceService", "metadata": {"name": "mlp"}, "spec": {"predictor": predictor}})
    )
    return path


def build(config: Path, told: Path) -> subprocess.CompletedProcess[str]:
    """As in the Job's pod."""
    command = [sys.executable, "-m", "workloads", "serve", "--config", str(config), "--build-only"]
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "operator")))
    environment = {**os.environ, "SLIPWAY_TERMINATION_LOG": str(told), "PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_it_builds_once_and_tells_the_kubelet_what(claim: Path, tmp_path: Path) -> None:
    config, told = document(tmp_path), tmp_path / "termination-log"
    first = build(config, told)
    assert first.returncode == 0, first.stderr
    facts = json.loads(told.read_text())["engine"]
    plan = claim / "engines" / facts["key"] / cache.PLAN
    assert plan.stat().st_size == facts["bytes"] > 1000
    assert facts["library"].startswith("tensorrt_rtx-")
    assert facts["buildSeconds"] > 0
    written = plan.stat().st_mtime_ns
    again = build(config, told)
    assert again.returncode == 0, again.stderr
    assert "built engine" in first.stderr
    assert "built engine" not in again.stderr
    assert json.loads(told.read_text())["engine"] == facts
    assert plan.stat().st_mtime_ns == written


def test_what_tensorrt_cannot_build_is_said_in_its_words_with_exit_code_2(claim: Path, tmp_path: Path) -> None:
    from onnx import TensorProto

    onnx_models.identity(claim / "model.onnx", TensorProto.STRING)
    failed = build(document(tmp_path), tmp_path / "termination-log")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "error: tensorrt has no string tensors"
    assert (tmp_path / "termination-log").read_text() == "tensorrt has no string tensors"


def test_where_a_job_builds_a_server_only_looks(claim: Path, tmp_path: Path) -> None:
    settings = from_document(document(tmp_path))
    assert settings.engine_cache == claim / "engines"
    assert not options_for(settings).build
    with pytest.raises(Unavailable, match=r"no engine of this model for sm89 .*--build-only"):
        engine.plan_for(load(settings.model, "", "1"), options_for(settings), "sm89")
    assert not (claim / "engines").exists()
    assert options_for(Settings("m", engine_cache=tmp_path)).build


def test_an_engine_for_another_gpu_is_refused_and_the_words_name_both(claim: Path) -> None:
    model, folder = load(str(claim / "model.onnx"), "", "1"), claim / "engines"
    engine.plan_for(model, Options(sizes=(4,), cache=folder), "sm89")
    with pytest.raises(Unavailable, match=r"no engine of this model for sm86 .*, only for sm89 with tensorrt_rtx"):
        engine.plan_for(model, Options(sizes=(4,), cache=folder, build=False), "sm86")
    plan, key = engine.plan_for(model, Options(sizes=(4,), cache=folder, build=False), "sm89")
    assert key.architecture == "sm89"
    assert len(plan) > 1000


@pytest.mark.parametrize(
    ("tokens", "told", "longest"), [(8, None, 512), (2048, None, 2048), (2048, 700, 700), (None, None, 512)]
)
def test_an_engine_takes_texts_as_long_as_the_artifact_says(
    claim: Path, monkeypatch: pytest.MonkeyPatch, tokens: int | None, told: int | None, longest: int
) -> None:
    """512 tokens were the most, whatever the model takes: longer texts were refused request by request."""
    from types import SimpleNamespace

    how = None if tokens is None else SimpleNamespace(max_tokens=tokens)
    monkeypatch.setattr("workloads.serve.loading.processing_of", lambda *given: how)
    model = load(str(claim / "model.onnx"), "", "1")
    assert options_for(Settings("m", max_axis_length=told), model).longest == longest
    assert options_for(Settings("m")).longest == 512
