"""From training to launch: three manifests applied in any order, and a served model that knows unseen digits."""

from __future__ import annotations

from tests.cluster.demonstration import predict
from tests.e2e.conftest import condition, is_true


def test_a_trained_model_is_quantized_gated_and_served(namespace, installed, example):
    # Whether int8 is faster depends on the node's CPU, and what gains nothing is not published.
    quantization = example("quantizationjob.yaml")
    quantization["spec"]["optimizeFor"] = "size"
    for document in (example("inferenceservice.yaml"), quantization, example("trainingjob.yaml")):
        namespace.apply(document)
    waiting = namespace.until("quantizationjob", "digits-int8", lambda q: condition(q, "SourceReady"), "looked at", 180)
    assert condition(waiting, "SourceReady")["reason"] in {"WaitingForSource", "SourceReady"}
    trained = namespace.until_condition("trainingjob", "digits", "Succeeded", 400)
    quantized = namespace.until_condition("quantizationjob", "digits-int8", "Succeeded", 600)
    assert quantized["status"]["source"]["digest"] == trained["status"]["artifact"]["digest"]
    assert quantized["status"]["outcome"] == "quantized"
    assert is_true(quantized, "AccuracyGatePassed")
    served = namespace.until_condition("inferenceservice", "digits", "Ready", 300)
    assert served["status"]["model"]["digest"] == quantized["status"]["artifact"]["digest"]
    assert predict.right(installed, namespace.name, "digits", 20) >= 18
