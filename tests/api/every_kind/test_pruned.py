"""A field that the server drops in silence is told once, by its path, for all three kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.stage import Stage
from tests.api.watching import watch

pytestmark = pytest.mark.api
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def test_a_misspelt_field_is_told_once_and_not_again_after_a_restart(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operator = operators(namespace)
    operator.ready()
    client, data = stage.plane.client, {"dataset": {"name": "digits"}}
    suspended = {"runPolicy": {"suspend": True}}
    chain = {"model": {"uri": "pvc://m/a"}, "calibration": data, "evaluation": data, "output": {"uri": "pvc://m/b"}}
    specs: dict[str, dict[str, Any]] = {
        "TrainingJob": {"trainer": {"image": "x", "command": ["a"], "comand": []}, **suspended},
        "QuantizationJob": {**chain, "weigths": {}, **suspended},
        "InferenceService": {"predictor": {"model": {"from": {"trainingJob": "none"}, "uril": "x"}}},
    }
    wrong = {"spec.trainer.comand", "spec.weigths", "spec.predictor.model.uril"}
    for kind, spec in specs.items():
        body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        metadata = {"name": name, "annotations": {ANNOTATION: json.dumps(body)}}
        path = f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/{kind.lower()}s"
        client.call("POST", path, {**body, "metadata": metadata})
    events = f"/api/v1/namespaces/{namespace}/events"

    def told(found: dict[str, Any]) -> list[str]:
        return [event["message"] for event in found.values() if event["reason"] == "UnknownField"]

    seen = watch(client, events, lambda found: len(told(found)) >= 3, seconds=60)
    assert {next(path for path in wrong if message.startswith(path)) for message in told(seen)} == wrong
    for kind in specs:
        path = f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/{kind.lower()}s"
        stage.until_object(path, name, lambda o: (o.get("status") or {}).get("observedGeneration") == 1)
    operator.kill()
    operator.start()
    operator.ready()
    stage.create(namespace, f"{name}-after")
    stage.until_running(namespace, f"{name}-after")
    again = client.get(events)["items"]
    assert sum(event["reason"] == "UnknownField" for event in again) == 3
