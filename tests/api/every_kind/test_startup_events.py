"""A pod in ContainerCreating says nothing of why; its kubelet's event does, and the condition tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.inferenceservice.services import MODEL
from tests.api.operators import Operator
from tests.api.quantizationjob.jobs import SPEC
from tests.api.stage import Stage, condition, marked
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api
WORDS = 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'
CREATING = Script(waiting="ContainerCreating")
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test"}
SHORT = {"runPolicy": {"startupDeadlineSeconds": 4}}
PATH = "/apis/slipway.dev/v1alpha1/namespaces/{}/{}"


def _complain(stage: Stage, namespace: str, pod: dict[str, Any], reason: str, message: str) -> None:
    """Write an event as a kubelet does."""
    metadata = pod["metadata"]
    about = {"kind": "Pod", "namespace": namespace, "name": metadata["name"], "uid": metadata["uid"]}
    moment = "2026-11-29T12:00:00Z"
    event = {
        "metadata": {"name": f"{metadata['name']}.{reason.lower()}", "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", **about},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": "node-0"},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    stage.plane.client.call("POST", f"/api/v1/namespaces/{namespace}/events", event)


def test_what_keeps_a_volume_from_being_mounted_is_told_for_all_three_kinds(
    stage: Stage, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace, **SERVER).ready()
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "t": ("TrainingJob", {"trainer": {"image": "x", "command": ["train"]}, **SHORT}),
        "q": ("QuantizationJob", {**SPEC, **SHORT}),
        "s": ("InferenceService", {"predictor": MODEL}),
    }
    names = {kind: f"{namespace}-{letter}" for letter, (kind, _) in specs.items()}
    for kind, spec in specs.values():
        stage.scripts[names[kind]] = lambda _: CREATING
        body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": names[kind]}, "spec": spec}
        stage.plane.client.call("POST", PATH.format(namespace, kind.lower() + "s"), body)
    for called in names.values():
        (pod,) = stage.until_pods(namespace, called, bool).values()
        _complain(stage, namespace, pod, "FailedMount", WORDS)
    for kind in ("TrainingJob", "QuantizationJob"):
        collection = PATH.format(namespace, kind.lower() + "s")
        failed = stage.until_status(collection, names[kind], lambda s: marked(s, "Failed"), 20)
        told = condition(failed, "Failed")
        assert told is not None
        assert told["reason"] == "StartupDeadlineExceeded"
        assert f"VolumeError: FailedMount: {WORDS}" in told["message"]
    services = PATH.format(namespace, "inferenceservices")
    shown = stage.until_status(services, names["InferenceService"], lambda s: WORDS in str(s.get("conditions")), 30)
    assert shown["modelStatus"]["lastFailureInfo"]["reason"] == "VolumeError"
    asked = [e for e in stage.requests(f"/api/v1/namespaces/{namespace}/events") if e["verb"] in {"list", "watch"}]
    assert {e["verb"] for e in asked} == {"list"}
    assert len(asked) <= 12


def test_a_job_that_starts_at_once_asks_for_no_events(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace).ready()
    stage.scripts[name] = lambda _: Script()
    stage.create(namespace, name, numNodes=3)
    stage.until_condition(namespace, name, "Succeeded")
    assert not stage.requests(f"/api/v1/namespaces/{namespace}/events")


def test_words_in_an_event_are_cleaned(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace).ready()
    stage.scripts[name] = lambda _: CREATING
    stage.create(namespace, name, **SHORT)
    (pod,) = stage.until_pods(namespace, name, bool).values()
    _complain(stage, namespace, pod, "FailedMount", "\x1b[2Jfirst\nsecond\u202e" + "x" * 100_000)
    failed = stage.until_condition(namespace, name, "Failed")
    told = condition(failed, "Failed")["message"]  # type: ignore[index]
    assert "first second" in told
    assert told.isprintable()
    assert len(told) < 1000
