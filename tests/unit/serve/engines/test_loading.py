"""What the settings say of engines is what is loaded: which, how many, with how many threads, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.api.serving.engine import EngineName
from tests.unit.serve import onnx_models
from workloads.errors import BadInput
from workloads.serve import loading
from workloads.serve.batcher import Limits
from workloads.serve.loading import load_and_warm_up, options_for
from workloads.serve.settings import Settings


@pytest.fixture
def mlp(tmp_path: Path) -> str:
    return str(onnx_models.mlp(tmp_path / "mlp.onnx", (8, 16, 3)))


def test_threads_are_those_asked_for_or_the_containers_shared_out(monkeypatch) -> None:
    monkeypatch.setattr(loading, "cpu_limit", lambda: 11.5)
    assert options_for(Settings("m")).threads == 12
    assert options_for(Settings("m", threads=8)).threads == 8
    assert options_for(Settings("m", threads=8, instances=3)).threads == 2
    assert options_for(Settings("m", threads=1, instances=3)).threads == 1


def test_every_instance_is_an_engine_of_its_own_with_its_threads(mlp: str) -> None:
    settings = Settings(mlp, engine=EngineName.ONNXRUNTIME, threads=4, instances=2, batching=Limits(max_batch_size=2))
    loaded = load_and_warm_up(settings)
    first, second = loaded.engines
    assert first is not second
    for engine in (first, second):
        assert engine._session.get_session_options().intra_op_num_threads == 2  # type: ignore[attr-defined]
    assert sorted(loaded.warm_up.seconds) == [1, 2]


def test_the_fallback_is_taken_and_the_reason_told(mlp: str) -> None:
    settings = Settings(mlp, engine=EngineName.TORCH, fallback=(EngineName.ONNXRUNTIME,))
    loaded = load_and_warm_up(settings)
    assert loaded.engines[0].name == "onnxruntime"
    assert [(attempt.name, "safetensors" in attempt.reason) for attempt in loaded.attempts] == [("torch", True)]


def test_only_the_provider_that_is_asked_for(mlp: str) -> None:
    loaded = load_and_warm_up(Settings(mlp, engine=EngineName.ONNXRUNTIME, providers=("CPUExecutionProvider",)))
    assert loaded.engines[0].details["providers"] == "CPUExecutionProvider"
    with pytest.raises(BadInput, match="onnxruntime has no NoSuchProvider here"):
        load_and_warm_up(Settings(mlp, engine=EngineName.ONNXRUNTIME, providers=("NoSuchProvider",)))
