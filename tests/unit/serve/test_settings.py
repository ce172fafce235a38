"""Every field of the document reaches the server, and the command line wins over it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from slipway.api.serving.engine import EngineName
from workloads.errors import BadInput
from workloads.serve import command, run
from workloads.serve.command import settings_from
from workloads.serve.settings import Settings, from_document, seconds

PREDICTOR = {
    "model": {"uri": "pvc://models/resnet"},
    "engine": {"name": "auto", "fallback": ["torch"], "threads": 3, "instances": 2, "maxAxisLength": 900},
    "batching": {
        "maxBatchSize": 8,
        "maxQueueDelay": "500us",
        "maxQueueSize": 99,
        "defaultTimeout": "2s",
        "priorityLevels": 3,
    },
    "protocol": {"maxBodyMiB": 1000, "nonFinite": "Allow"},
    "drain": {"readinessLeadSeconds": 3, "timeoutSeconds": 7},
}


def write(folder: Path, predictor: dict, status: dict | None = None) -> Path:
    path = folder / "service.json"
    document = {"kind": "InferenceService", "metadata": {"name": "resnet"}, "spec": {"predictor": predictor}}
    path.write_text(json.dumps({**document, "status": status or {}}))
    return path


def test_a_whole_document(tmp_path: Path) -> None:
    settings = from_document(write(tmp_path, PREDICTOR))
    assert (settings.model, settings.name, settings.digest) == ("pvc://models/resnet", "resnet", None)
    assert (settings.engine, settings.fallback) == (EngineName.AUTO, (EngineName.TORCH,))
    assert (settings.threads, settings.instances, settings.max_axis_length) == (3, 2, 900)
    batching = settings.batching
    assert (batching.max_batch_size, batching.max_queue_size, batching.priority_levels) == (8, 99, 3)
    assert (batching.max_queue_delay, batching.default_timeout) == (0.0005, 2.0)
    assert (settings.http.max_body_size, settings.nonfinite) == (1000 << 20, True)
    assert settings.http.max_buffered >= 2 * settings.http.max_body_size
    assert (settings.readiness_lead, settings.drain_timeout) == (3, 7)


def test_own_code_and_its_tensors(tmp_path: Path) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [-1, 2]}
    asked = {"preprocess": "own.code:f", "path": "/opt/own", "inputs": [tensor], "workers": 3, "memory": "1Gi"}
    choice = from_document(write(tmp_path, {**PREDICTOR, "transform": asked, "startupSeconds": 60})).transform
    assert choice is not None
    assert (choice.preprocess, choice.postprocess, choice.path, choice.workers) == ("own.code:f", "", "/opt/own", 3)
    assert (choice.memory, choice.startup) == (1 << 30, 55)
    assert [(one.name, one.datatype, one.shape) for one in choice.inputs] == [("text", "BYTES", [-1, 2])]
    assert from_document(write(tmp_path, PREDICTOR)).transform is None
    own = settings_from(["--model", str(tmp_path), "--postprocess", "own.code:g"]).transform
    assert own is not None
    assert (own.preprocess, own.postprocess) == ("", "own.code:g")


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ({}, "name a callable"),
        ({"preprocess": "own.code"}, "transform.preprocess"),
        ({"preprocess": "a:b", "memory": "1Mi"}, "too little"),
        ({"preprocess": "a:b", "workers": 0}, "workers"),
        ({"preprocess": "a:b", "path": "relative"}, "path"),
        ({"preprocess": "a:b", "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]}, "set postprocess"),
        ({"postprocess": "a:b", "inputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]}, "set preprocess"),
        ({"preprocess": "a:b", "inputs": [{"name": "y", "datatype": "float", "shape": [-1]}]}, "datatype"),
    ],
)
def test_own_code_that_cannot_be_is_refused_in_words(tmp_path: Path, transform: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        from_document(write(tmp_path, {**PREDICTOR, "transform": transform}))


def test_what_the_operator_has_pinned_wins(tmp_path: Path) -> None:
    model = {"uri": "pvc://models/other", "digest": "sha256:" + "a" * 64, "source": "TrainingJob/x"}
    settings = from_document(write(tmp_path, {"model": {"from": {"trainingJob": "x"}}}, {"model": model}))
    assert (settings.model, settings.digest) == (model["uri"], model["digest"])


@pytest.mark.parametrize(
    ("predictor", "words"),
    [
        ({}, "spec.predictor.model: required"),
        ({"model": {"from": {"trainingJob": "x"}}}, "does not say which artifact"),
        ({"model": {"uri": "pvc://a/b"}, "batching": {"maxQueueDelay": "1h"}}, "maxQueueDelay"),
        ({"model": {"uri": "pvc://a/b"}, "batching": {"maxQueueSize": 8}}, "at least maxBatchSize"),
        ({"model": {"uri": "pvc://a/b"}, "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path: Path, predictor: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        from_document(write(tmp_path, predictor))


def test_what_is_no_document(tmp_path: Path) -> None:
    for content in ("", "[]", "kind: TrainingJob", "{", "\x00"):
        (tmp_path / "x").write_text(content)
        with pytest.raises(BadInput, match=str(tmp_path)):
            from_document(tmp_path / "x")


def test_the_command_line_wins(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SLIPWAY_ENGINE_CACHE", str(tmp_path))
    config = str(write(tmp_path, PREDICTOR))
    settings = settings_from(["--config", config, "--engine", "torch", "--max-batch-size", "128", "--port", "0"])
    assert (settings.engine, settings.port, settings.threads) == (EngineName.TORCH, 0, 3)
    assert (settings.batching.max_batch_size, settings.batching.max_queue_size) == (128, 128)
    assert settings.batching.priority_levels == 3
    assert settings.engine_cache == tmp_path
    providers = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    named = [word for name in providers for word in ("--provider", name)]
    assert settings_from(["--config", config, *named]).providers == providers


def test_on_a_laptop_nothing_is_waited_for(tmp_path: Path) -> None:
    settings = settings_from(["--model", str(tmp_path)])
    assert (settings.readiness_lead, settings.engine, settings.nonfinite) == (0, EngineName.AUTO, False)
    with pytest.raises(BadInput, match="--threads"):
        settings_from(["--model", str(tmp_path), "--threads", "0"])


@pytest.mark.parametrize(("text", "value"), [("0ms", 0), ("10s", 10), ("250us", 0.00025), ("2m", 120)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


def test_an_engines_thread_gets_the_interpreter_in_time(monkeypatch) -> None:
    """The loop's thread kept it for up to 5 ms, and the engine idled."""
    seen: list[float] = []

    async def serve(settings: Settings) -> None:
        seen.append(sys.getswitchinterval())

    before = sys.getswitchinterval()
    monkeypatch.setattr(run, "serve", serve)
    try:
        command._run(Settings(model="m"))
    finally:
        sys.setswitchinterval(before)
    assert seen == [pytest.approx(command.SWITCH_INTERVAL)]
