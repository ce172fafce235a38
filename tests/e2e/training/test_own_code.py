"""A script of one's own under torchrun on two nodes, then quantized and served, each by reference to the one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.demonstration import predict
from tests.e2e.conftest import is_true

SCRIPT = Path(__file__).with_name("own_script.py").read_text()


@pytest.mark.slow
def test_what_an_own_script_leaves_is_quantized_and_served(namespace, installed, example):
    job = example("trainingjob.yaml")
    del job["spec"]["recipe"], job["spec"]["checkpoint"]
    job["spec"]["trainer"]["command"] = ["python", "-c", SCRIPT]
    quantization = example("quantizationjob.yaml")
    quantization["spec"]["optimizeFor"] = "size"  # not even a slow int8 keeps it float
    for document in (example("inferenceservice.yaml"), quantization, job):
        namespace.apply(document)
    trained = namespace.until_condition("trainingjob", "digits", "Succeeded", 400)
    artifact = trained["status"]["artifact"]
    assert artifact["uri"] == job["spec"]["output"]["uri"]
    assert float(artifact["metrics"][0]["value"]) > 0.9
    quantized = namespace.until_condition("quantizationjob", "digits-int8", "Succeeded", 600)
    assert quantized["status"]["source"]["digest"] == artifact["digest"]
    assert is_true(quantized, "AccuracyGatePassed")
    served = namespace.until_condition("inferenceservice", "digits", "Ready", 300)
    assert served["status"]["model"]["digest"] == quantized["status"]["artifact"]["digest"]
    assert predict.right(installed, namespace.name, "digits", 20) >= 18
