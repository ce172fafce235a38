"""Nothing is lost: real servers under constant load while they are replaced, scaled, drained, promoted, rolled back."""

from __future__ import annotations

import copy
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.cluster.demonstration import predict
from tests.e2e.conftest import Namespace, condition
from tests.e2e.serving.load import Load

pytestmark = pytest.mark.slow
CLAIM = "pvc://slipway-artifacts"
RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
DRAIN = {"readinessLeadSeconds": 5, "timeoutSeconds": 20}
GATE = {"minRequests": 100, "maxOutputDrift": 0.25, "maxP99IncreasePercent": 1000}
CANARY = {
    "strategy": "Canary",
    "canary": {"steps": [{"trafficPercent": 50, "analysisSeconds": 5}], "gate": GATE},
}


def training(name: str, **recipe: Any) -> dict[str, Any]:
    """A small model of handwritten digits."""
    fields = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "globalBatchSize": 64, "epochs": 12}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "recipe": {**fields, "optimizer": {"learningRate": 0.05}, **recipe},
            "trainer": {"resourcesPerNode": {"limits": {"cpu": "1", "memory": "2Gi"}}},
            "output": {"uri": f"{CLAIM}/{name}"},
        },
    }


def service(source: str, **spec: Any) -> dict[str, Any]:
    predictor = {
        "model": {"from": {"trainingJob": source}},
        "engine": {"name": "torch"},
        "resources": RESOURCES,
        "drain": DRAIN,
    }
    kind = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService", "metadata": {"name": "digits"}}
    return {**kind, "spec": {"predictor": predictor, **spec}}


def pictures() -> list[bytes]:
    """As PNG, of digits that no model has seen."""
    bodies = []
    for number in range(60):
        content = io.BytesIO()
        Image.fromarray(predict.held_out_digit(number)[0]).save(content, "PNG")
        bodies.append(content.getvalue())
    return bodies


# Two good models and one that has hardly learned.
MODELS: dict[str, dict[str, Any]] = {
    "good": {},
    "other": {"seed": 7},
    "worse": {"epochs": 1, "optimizer": {"learningRate": 1e-6}},
}


def trained(namespace: Namespace, *names: str) -> None:
    """Train them, side by side."""
    for name in names:
        namespace.apply(training(name, **MODELS[name]))
    for name in names:
        namespace.until_condition("trainingjob", name, "Succeeded", 400)


@pytest.fixture
def load(namespace: Namespace) -> Callable[[str], Load]:
    """Constant load on a Service's address, as this machine reaches it."""

    def start(name: str) -> Load:
        address = namespace.get("service", name)["spec"]["clusterIP"]
        return Load(address, 80, pictures())

    return start


def status(namespace: Namespace, holds: Callable[[dict[str, Any]], Any], what: str, seconds: float = 300) -> Any:
    return namespace.until("inferenceservice", "digits", lambda o: holds(o.get("status") or {}), what, seconds)[
        "status"
    ]


def revision(found: dict[str, Any]) -> str:
    return str(found["components"]["predictor"].get("latestRolledoutRevision"))


def is_ready(found: dict[str, Any]) -> bool:
    return condition({"status": found}, "Ready").get("status") == "True" and not condition(
        {"status": found}, "Reconciling"
    )


def until_pods(namespace: Namespace, holds: Callable[[list[str]], bool], seconds: float = 180) -> None:
    """Wait until the revisions of the service's pods, those that still drain among them, are so."""
    end = time.monotonic() + seconds
    while not holds(seen := [p["metadata"]["labels"]["slipway.dev/revision"] for p in namespace.pods("digits")]):
        assert time.monotonic() < end, seen
        time.sleep(0.5)


def edit(namespace: Namespace, **spec: Any) -> None:
    namespace.kubectl("patch", "inferenceservice", "digits", "--type=merge", "-p", json.dumps({"spec": spec}))


def replaced(namespace: Namespace, before: str) -> str:
    found = status(namespace, lambda s: is_ready(s) and revision(s) != before, "replaced")
    until_pods(namespace, lambda revisions: before not in revisions)
    return revision(found)


def replace_the_model(namespace: Namespace, running: Load, first: str) -> str:
    running.phase = "replace"
    edit(namespace, predictor={"batching": {"maxBatchSize": 16}})
    return replaced(namespace, first)


def scale_up_and_down(namespace: Namespace, running: Load) -> None:
    running.phase = "scale 1-3-1"
    namespace.kubectl("scale", "inferenceservice", "digits", "--replicas=3")
    status(namespace, lambda s: s["replicas"]["ready"] == 3 and is_ready(s), "three")
    namespace.kubectl("scale", "inferenceservice", "digits", "--replicas=1")
    until_pods(namespace, lambda revisions: len(revisions) == 1)
    namespace.kubectl("scale", "inferenceservice", "digits", "--replicas=2")
    status(namespace, lambda s: s["replicas"]["ready"] == 2 and is_ready(s), "two")


def delete_a_pod(namespace: Namespace, running: Load) -> None:
    running.phase = "delete a pod"
    victim = namespace.pods("digits")[0]["metadata"]["name"]
    namespace.kubectl("delete", "pod", victim, "--wait=true")
    status(namespace, lambda s: s["replicas"]["ready"] == 2 and is_ready(s), "two again")


def promote(namespace: Namespace, running: Load, before: str) -> str:
    running.phase = "canary promoted"
    edit(namespace, rollout=CANARY, predictor={"model": {"from": {"trainingJob": "other"}}})
    after = replaced(namespace, before)
    found = namespace.get("inferenceservice", "digits")["status"]
    assert found["canaryStatuses"][0]["phase"] == "Promoted"
    assert found["canaryStatuses"][0]["gate"]["requests"] >= GATE["minRequests"]
    return after


def roll_back(namespace: Namespace, running: Load, before: str) -> None:
    running.phase = "canary rolled back"
    edit(namespace, predictor={"model": {"from": {"trainingJob": "worse"}}})
    found = status(namespace, lambda s: s["canaryStatuses"][0]["phase"] == "RolledBack", "rolled back")
    assert found["canaryStatuses"][0]["reason"] == "GateFailed"
    assert "outputs drift" in found["canaryStatuses"][0]["message"]
    until_pods(namespace, lambda revisions: set(revisions) == {before})
    assert revision(namespace.get("inferenceservice", "digits")["status"]) == before


def test_no_request_is_lost(namespace: Namespace, load: Callable[[str], Load]) -> None:
    trained(namespace, *MODELS)
    namespace.apply(service("good"))
    first = revision(status(namespace, is_ready, "ready"))
    with load("digits") as running:
        second = replace_the_model(namespace, running, first)
        scale_up_and_down(namespace, running)
        delete_a_pod(namespace, running)
        third = promote(namespace, running, second)
        roll_back(namespace, running, third)
        running.phase = "end"
    print(running.report())
    assert not running.failures, running.report()
    assert running.sent.total() > 3000, running.report()
    said = status(namespace, lambda s: (s.get("servedModel") or {}).get("revision") == third, "described", 120)
    assert said["servedModel"]["engine"] == "torch"
    assert said["servedModel"]["dataSet"].startswith("digits@sha256:")
    assert said["servedModel"]["performance"][0]["milliseconds"] > 0


def test_the_same_load_on_a_plain_deployment_loses_requests(namespace: Namespace, load: Callable[[str], Load]) -> None:
    """The same server and the same rolling update, but it leaves at once, as servers do that nobody taught to drain."""
    trained(namespace, "good")
    namespace.apply(service("good"))
    found = status(namespace, is_ready, "ready")
    name = f"digits-{revision(found)}"
    plain = copy.deepcopy(namespace.get("deployment", name))
    template = plain["spec"]["template"]
    template["metadata"] = {"labels": {"app": "plain"}}
    container = template["spec"]["containers"][0]
    container["command"] += ["--readiness-lead", "0"]
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "plain"}}, "template": template}
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "plain"}, "spec": spec})
    ports = [{"port": 80, "targetPort": "http"}]
    address = {"selector": {"app": "plain"}, "ports": ports}
    namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain"}, "spec": address})
    namespace.kubectl("rollout", "status", "deployment/plain", "--timeout=180s")
    with load("plain") as running:
        # One or two requests are lost at most restarts; it takes a few to be sure.
        for number in range(10):
            if running.failures:
                break
            running.phase = f"restart {number}"
            namespace.kubectl("rollout", "restart", "deployment/plain")
            namespace.kubectl("rollout", "status", "deployment/plain", "--timeout=180s")
    print(running.report())
    assert running.failures, running.report()
