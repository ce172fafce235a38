"""Rules of language models' services: each engine gets what it can do, and who asks for more is told what to change."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.serving.inferenceservice import spec_problems
from tests.unit.inferenceservice.looks import LANGUAGE, look

ADAPTER = {"name": "a", "uri": "pvc://models/a"}


def problems(**predictor: Any) -> str:
    return "; ".join(spec_problems("m", {"predictor": {"model": {"uri": "pvc://models/m"}, **predictor}})[1])


@pytest.mark.parametrize(
    ("predictor", "words"),
    [
        ({"generation": {}, "engine": {"name": "onnxruntime"}}, "engines openvino and vllm"),
        ({"generation": {}, "transform": {"preprocess": "a:b", "path": "pvc://a/b"}}, "transform"),
        ({"adapters": [ADAPTER]}, "engine.name vllm"),
        ({"adapters": [ADAPTER], "engine": {"name": "openvino"}}, "merged model"),
        ({"adapters": [ADAPTER, ADAPTER], "engine": {"name": "vllm"}}, "more than once"),
        ({"adapters": [{"name": "a", "uri": "s3://b/a"}], "engine": {"name": "vllm"}}, "pvc://"),
        ({"generation": {"kvCache": {"precision": "fp8"}}}, "vLLM's"),
        ({"generation": {"kvCache": {"memory": "1"}}}, "1Mi"),
        ({"generation": {"tensorParallel": 2}}, "vLLM's"),
        ({"generation": {"maxModelLength": 64, "defaults": {"maxTokens": 64}}}, "no room for a prompt"),
        ({"generation": {"defaults": {"temperature": 3}}}, "temperature"),
        ({"generation": {"maxSequences": 0}}, "maxSequences"),
        ({"generation": {"unknown": 1}}, "unknown"),
        ({"engine": {"name": "vllm", "fallback": ["torch"]}}, "no fallback"),
        ({"engine": {"name": "torch", "fallback": ["vllm"]}}, "no fallback"),
    ],
    ids=str,
)
def test_what_an_engine_cannot_do_is_refused(predictor: dict[str, Any], words: str) -> None:
    assert words in problems(**predictor)


@pytest.mark.parametrize(
    "predictor",
    [
        {"generation": {}},
        {"generation": {"kvCache": {"memory": "1Gi", "precision": "u8"}}, "engine": {"name": "openvino"}},
        {"generation": {"tensorParallel": 8, "kvCache": {"precision": "fp8"}}, "engine": {"name": "vllm"}},
        {"adapters": [ADAPTER, {**ADAPTER, "name": "b"}], "engine": {"name": "vllm"}},
    ],
    ids=str,
)
def test_what_it_can_is_taken(predictor: dict[str, Any]) -> None:
    assert problems(**predictor) == ""


def test_claims_of_adapters_are_mounted_once_and_for_reading() -> None:
    metadata = {"name": "m", "namespace": "team", "uid": "u", "generation": 1}
    predictor = {"model": {"uri": "pvc://models/m"}, **LANGUAGE}
    writes = look({"metadata": metadata, "spec": {"predictor": predictor}, "status": {}}).writes
    (deployment,) = [write.manifest for write in writes if write.manifest["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    claims = [volume["persistentVolumeClaim"] for volume in volumes if "persistentVolumeClaim" in volume]
    assert sorted(claim["claimName"] for claim in claims) == ["adapters", "models"]
    assert all(claim["readOnly"] for claim in claims)
