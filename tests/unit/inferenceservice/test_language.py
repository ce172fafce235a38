"""Services of language models: memory is planned before there is a pod, adapters come from jobs and fit their base."""

import json
from typing import Any

import pytest

from slipway.inferenceservice.language import adapter_jobs
from slipway.inferenceservice.observed import trouble_of
from slipway.inferenceservice.service import DEPLOYMENTS
from slipway.runtime.client.resource import CONFIGMAPS
from tests.unit.inferenceservice.looks import NOW, deployed, look

BASE, TUNED, QUANTIZED, ADAPTER = (f"sha256:{letter * 64}" for letter in "abcd")
# Bytes of a token: 2 x 24 layers x 8 heads x 128 numbers x 2 bytes = 98,304.
FACTS = {"kind": "openvino-lm", "weightsBytes": 4 << 30, "contextLength": 4096, "vocabulary": 32000, "layers": 24}
FACTS |= {"hiddenSize": 2048, "keyValueHeads": 8, "headSize": 128, "cachePrecision": "f16", "quantizedFrom": BASE}


def job(kind: str, name: str, digest: str, language: dict[str, Any] | None) -> dict[str, Any]:
    artifact = {"uri": f"pvc://models/{name}", "digest": digest, **({"language": language} if language else {})}
    status = {"conditions": [{"type": "Succeeded", "status": "True"}], "artifact": artifact}
    return {"kind": kind, "metadata": {"name": name, "namespace": "team", "uid": name}, "status": status}


def service(memory: str = "8Gi", status: dict[str, Any] | None = None, **predictor: Any) -> dict[str, Any]:
    model = {"from": {"quantizationJob": "light"}}
    spec = {"predictor": {"model": model, "resources": {"limits": {"memory": memory}}, **predictor}}
    metadata = {"name": "chat", "namespace": "team", "uid": "u", "generation": 1}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


LIGHT = job("QuantizationJob", "light", QUANTIZED, FACTS)
FOR_VLLM = job("QuantizationJob", "light", QUANTIZED, {**FACTS, "kind": "causal-lm"})


def condition(decision: Any, kind: str) -> dict[str, Any]:
    return next((one for one in decision.status["conditions"] if one["type"] == kind), {})


def test_a_model_that_does_not_fit_is_refused_with_the_numbers_before_there_is_a_pod():
    """Lack of memory is told before there is a pod: it was found out minutes after one had begun to load."""
    decision = look(service("4Gi"), source=LIGHT)
    assert not decision.writes
    stalled = condition(decision, "Stalled")
    assert stalled["reason"] == "DoesNotFit"
    assert "weights 4096 MiB" in stalled["message"]
    assert "the memory limit is 4096 MiB" in stalled["message"]
    assert [notice.reason for notice in decision.notices] == ["DoesNotFit"]
    assert condition(decision, "SourceReady")["status"] == "True"


@pytest.mark.parametrize("predictor", [{"generation": {"maxModelLength": 512}}, {"generation": {}}, {}])
def test_what_fits_tells_how_many_tokens_it_has_room_for(predictor):
    decision = look(service("8Gi", **predictor), source=LIGHT)
    planned = decision.status["generation"]
    assert (planned["weightsBytes"], planned["cacheBytesPerToken"]) == (4 << 30, 98304)
    assert planned["cacheBytes"] == planned["maxConcurrentTokens"] * 98304
    whole = planned["weightsBytes"] + planned["workspaceBytes"] + planned["cacheBytes"]
    assert whole < 8 << 30
    assert any(write.resource is DEPLOYMENTS for write in decision.writes)


def test_what_the_engine_has_measured_counts_more_than_the_plan():
    first = look(service(), source=LIGHT)
    revision = first.status["components"]["predictor"]["latestCreatedRevision"]
    said = {"revision": revision, "maxConcurrentTokens": 640}
    there = look(service(status=first.status), [deployed(first, ready=1)], source=LIGHT, model=said)
    assert there.status["generation"]["maxConcurrentTokens"] == 640
    assert there.status["generation"]["measured"]
    assert there.status["generation"]["cacheBytes"] == 640 * 98304


def test_a_model_of_which_nothing_is_known_is_served_without_a_plan():
    decision = look(service(), source=job("QuantizationJob", "light", QUANTIZED, None))
    assert "generation" not in decision.status
    assert any(write.resource is DEPLOYMENTS for write in decision.writes)


@pytest.mark.parametrize("reason", ["DoesNotFit", "ProbeMismatch", "AdapterNotApplied"])
def test_a_servers_own_reason_is_the_conditions(reason):
    ended = {"exitCode": 2, "message": f"error: {reason}: 900 MiB are needed"}
    entry = {"name": "server", "state": {"waiting": {}}, "lastState": {"terminated": ended}}
    metadata = {"name": "p", "uid": "p", "labels": {"slipway.dev/revision": "r"}}
    status = {"phase": "Running", "containerStatuses": [entry]}
    trouble = trouble_of([{"metadata": metadata, "status": status}], "r", NOW)
    assert trouble is not None
    assert trouble.reason == reason


VLLM = {"engine": {"name": "vllm"}, "adapters": [{"name": "poet", "from": {"trainingJob": "verses"}}]}


def verses(base: str = BASE, kind: str = "lora-adapter") -> dict[str, Any]:
    return job("TrainingJob", "verses", ADAPTER, {"kind": kind, "base": base})


def test_an_adapter_of_a_job_is_waited_for_and_pinned():
    waiting = look(service(**VLLM), source=FOR_VLLM, adapter_jobs={"verses": None})
    assert condition(waiting, "SourceReady")["reason"] == "WaitingForSource"
    assert not waiting.writes
    decision = look(service(**VLLM), source=FOR_VLLM, adapter_jobs={"verses": verses()})
    (pin,) = decision.status["adapters"]
    assert (pin["name"], pin["uri"], pin["digest"]) == ("poet", "pvc://models/verses", ADAPTER)
    body = next(write.manifest for write in decision.writes if write.resource is CONFIGMAPS)
    document = json.loads(body["data"]["service.json"])
    adapter = {"name": "poet", "uri": "pvc://models/verses", "digest": ADAPTER}
    assert document["spec"]["predictor"]["adapters"] == [adapter]
    # Later the job is gone: what was pinned stays, and so does the revision.
    later = look(service(status=decision.status, **VLLM), [deployed(decision)], adapter_jobs={"verses": None})
    assert later.status["adapters"] == decision.status["adapters"]
    assert not later.writes


@pytest.mark.parametrize(
    ("adapter", "words"),
    [(verses(TUNED), "was trained on"), (verses(kind="causal-lm"), "set its output.merge to adapter")],
)
def test_an_adapter_of_another_base_is_refused_before_there_is_a_pod(adapter, words):
    decision = look(service(**VLLM), source=FOR_VLLM, adapter_jobs={"verses": adapter})
    assert condition(decision, "Stalled")["reason"] == "AdapterMismatch"
    assert words in condition(decision, "Stalled")["message"]
    assert not decision.writes


def test_a_service_of_an_adapter_alone_is_refused_before_there_is_a_pod():
    decision = look(service(), source=job("QuantizationJob", "light", ADAPTER, {"kind": "lora-adapter", "base": BASE}))
    assert "made an adapter alone" in condition(decision, "Stalled")["message"]
    assert not decision.writes


def test_vllm_is_not_given_openvino_s_form_of_a_model():
    """OpenVINO's form is refused to vLLM, which found it out after a minute, in the words of a pickle's reader."""
    decision = look(service(engine={"name": "vllm"}), source=LIGHT)
    assert "set engine.name to auto" in condition(decision, "Stalled")["message"]
    assert not decision.writes


def test_jobs_are_found_in_services_that_make_no_sense():
    assert adapter_jobs({"spec": {"predictor": {"adapters": [1, {"from": 2}, {"from": {"trainingJob": "a"}}]}}}) == {
        "a"
    }
    assert adapter_jobs({"spec": {"predictor": None}}) == set()
