"""The life of an InferenceService: real API server and controllers, real operator; only the kubelet is scripted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.api.inferenceservice.services import (
    ADDRESSES,
    CONFIGMAPS,
    DEPLOYMENTS,
    SERVICES,
    Town,
    manifest,
    predictor,
    revision,
)
from tests.api.operators import Operator
from tests.api.stage import CEL_SINCE, PODS, Stage, condition, marked
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
DIGEST = f"sha256:{'a' * 64}"
NEWER = f"sha256:{'b' * 64}"
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test"}


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    """One for this module, in a namespace of its own."""
    return operators(stage.namespace("services"), **SERVER)


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "services")


def ready_pods(pods: dict[str, dict]) -> int:
    return sum(marked(pod["status"], "Ready", "True") for pod in pods.values())


def test_it_makes_what_it_needs_and_is_ready_when_its_pods_are(town: Town, name: str) -> None:
    town.create(name, replicas=2)
    status = town.until_ready(name, desired=2, ready=2, updated=2)
    assert status["url"] == f"http://{name}.services.svc.cluster.local"
    assert status["modelStatus"] == {"transitionStatus": "UpToDate"}
    assert not condition(status, "Reconciling")
    (deployment,) = town.deployments(name).values()
    assert deployment["metadata"]["name"] == f"{name}-{revision(status)}"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == SERVER["SLIPWAY_SERVER_IMAGE"]
    document = json.loads(town.get(CONFIGMAPS, deployment["metadata"]["name"])["data"]["service.json"])
    assert document["status"]["model"]["uri"] == "pvc://models/digits"
    selector = town.get(ADDRESSES, name)["spec"]["selector"]
    pods = town.stage.until_pods(town.namespace, name, lambda all_: ready_pods(all_) == 2)
    assert all(selector.items() <= pod["metadata"]["labels"].items() for pod in pods.values())


def test_it_waits_for_its_source_and_pins_what_that_made(town: Town, name: str) -> None:
    source = {"model": {"uri": None, "from": {"trainingJob": f"{name}-train"}}}
    town.create(name, predictor={"model": {"from": {"trainingJob": f"{name}-train"}}})
    waiting = town.until(name, lambda s: marked(s, "SourceReady", "False", "WaitingForSource"))
    assert marked(waiting, "Ready", "Unknown")
    assert not town.deployments(name)
    town.trained(f"{name}-train", DIGEST)
    first = town.until_ready(name)
    assert first["model"]["digest"] == DIGEST
    assert first["model"]["source"] == f"TrainingJob/{name}-train"
    town.trained(f"{name}-train", NEWER)
    town.edit(name, rolloutOn="NewArtifact", predictor=source)
    second = town.until(
        name, lambda s: marked(s, "Ready", "True") and s["model"]["digest"] == NEWER and revision(s) != revision(first)
    )
    assert second["components"]["predictor"]["previousRolledoutRevision"] == revision(first)


def test_a_language_model_is_planned_and_its_adapters_come_from_jobs(town: Town, name: str) -> None:
    """One look at each refusal, then both are mended: the model is smaller, the adapter is of this base."""
    sizes = {"kind": "causal-lm", "weightsBytes": 6 << 30, "contextLength": 512, "vocabulary": 1024, "layers": 4}
    sizes |= {"hiddenSize": 128, "keyValueHeads": 2, "headSize": 32}
    base, tuned = f"{name}-base", f"{name}-tuned"
    town.trained(base, DIGEST, language=sizes)
    town.trained(tuned, NEWER, "pvc://adapters/tuned", language={"kind": "lora-adapter", "base": NEWER})
    model = {"model": {"uri": None, "from": {"trainingJob": base}}, "resources": {"limits": {"memory": "2Gi"}}}
    town.create(name, predictor={"model": {"from": {"trainingJob": base}}, "resources": {"limits": {"memory": "2Gi"}}})
    refused = town.until(name, lambda s: marked(s, "Stalled", "True", "DoesNotFit"))
    assert "the memory limit is 2048 MiB: weights 6144 MiB" in condition(refused, "Stalled")["message"]
    assert not town.deployments(name)
    adapters = [{"name": "tuned", "from": {"trainingJob": tuned}}]
    town.edit(name, predictor={**model, "engine": {"name": "vllm"}, "adapters": adapters})
    town.until(name, lambda s: marked(s, "Stalled", "True", "AdapterMismatch"))
    town.trained(tuned, NEWER, "pvc://adapters/tuned", language={"kind": "lora-adapter", "base": DIGEST})
    status = town.until_ready(name)
    assert status["adapters"][0]["digest"] == NEWER
    document = json.loads(town.get(CONFIGMAPS, f"{name}-{revision(status)}")["data"]["service.json"])
    adapter = {"name": "tuned", "uri": "pvc://adapters/tuned", "digest": NEWER}
    assert document["spec"]["predictor"]["adapters"] == [adapter]


def test_a_change_makes_a_new_revision_while_the_old_one_serves(town: Town, name: str) -> None:
    town.create(name, replicas=2)
    first = revision(town.until_ready(name, ready=2))
    town.stage.scripts[name] = lambda pod: Script(runs_for=None, starts_after=1.0)
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))

    def served_throughout(pods: dict[str, dict]) -> bool:
        assert ready_pods({n: p for n, p in pods.items() if "deletionTimestamp" not in p["metadata"]}) >= 2
        revisions = {pod["metadata"]["labels"]["slipway.dev/revision"] for pod in pods.values()}
        return first not in revisions

    town.stage.until_pods(town.namespace, name, served_throughout)
    status = town.until_ready(name)
    assert revision(status) != first
    assert status["components"]["predictor"]["previousRolledoutRevision"] == first
    town.stage.until_gone(town.path(CONFIGMAPS), f"{name}-{first}")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            Script(waiting="ErrImagePull", waiting_message="manifest unknown"),
            {"reason": "ImagePullError", "message": "ErrImagePull: manifest unknown"},
        ),
        (
            Script(crashes=Exit(code=2, message="error: model.onnx is damaged")),
            {"reason": "ModelLoadFailed", "exitCode": 2, "message": "error: model.onnx is damaged"},
        ),
        (
            Script(crashes=Exit(code=137, reason="OOMKilled")),
            {"reason": "OOMKilled", "exitCode": 137},
        ),
        (
            Script(unschedulable="0/3 nodes are available: 3 Insufficient memory."),
            {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient memory."},
        ),
    ],
    ids=["image", "crash", "oom", "unschedulable"],
)
def test_a_revision_that_cannot_load_blocks_and_editing_back_rolls_back(
    town: Town, name: str, script: Script, told: dict
) -> None:
    town.create(name)
    first = revision(town.until_ready(name))
    town.stage.scripts[name] = lambda pod: script
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 4}))
    blocked = town.until(name, lambda s: s.get("modelStatus", {}).get("transitionStatus") == "BlockedByFailedLoad")
    assert blocked["modelStatus"]["lastFailureInfo"].items() >= told.items()
    assert marked(blocked, "PredictorReady", "True")
    assert marked(blocked, "Ready", "Unknown")
    assert f"revision {first} goes on serving" in condition(blocked, "Ready")["message"]  # type: ignore[index]
    assert town.get(DEPLOYMENTS, f"{name}-{first}")["status"]["readyReplicas"] == 1
    town.edit(name, predictor={"batching": None})
    back = town.until_ready(name)
    assert revision(back) == first
    assert back["modelStatus"] == {"transitionStatus": "UpToDate"}
    assert set(town.until_deployments(name, lambda all_: len(all_) == 1)) == {f"{name}-{first}"}


def test_while_a_new_revision_is_blocked_the_serving_one_can_be_scaled(town: Town, name: str) -> None:
    town.create(name)
    first = revision(town.until_ready(name))
    town.stage.scripts[name] = lambda pod: Script(
        runs_for=None,
        waiting="" if pod["metadata"]["labels"]["slipway.dev/revision"] == first else "ErrImagePull",
    )
    town.edit(name, predictor=predictor(image="missing:1"))
    town.until(name, lambda s: s["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad")
    town.scale(name, 3)
    town.until(name, lambda s: s["replicas"]["ready"] == 3)
    assert town.get(DEPLOYMENTS, f"{name}-{first}")["spec"]["replicas"] == 3


def test_the_scale_subresource_scales(town: Town, name: str) -> None:
    town.create(name)
    first = revision(town.until_ready(name))
    town.scale(name, 3)
    assert revision(town.until_ready(name, ready=3)) == first
    scale = town.client.get(f"{town.path(SERVICES, name)}/scale")
    assert scale["status"]["replicas"] == 3
    key, value = scale["status"]["selector"].split("=")
    assert len(town.client.get(f"{town.path(PODS)}?labelSelector={key}%3D{value}")["items"]) == 3
    town.scale(name, 0)
    idle = town.until(name, lambda s: marked(s, "Ready", "True", "ScaledToZero"))
    assert marked(idle, "PredictorReady", "False")
    town.scale(name, 1)
    town.until_ready(name, ready=1)


def test_a_foreign_address_is_left_alone_until_it_is_gone(town: Town, name: str) -> None:
    foreign = {"metadata": {"name": name}, "spec": {"ports": [{"port": 1}], "selector": {"app": "theirs"}}}
    town.client.call("POST", town.path(ADDRESSES), foreign)
    town.create(name)
    told = town.until(name, lambda s: marked(s, "Ready", "Unknown", "NameConflict"))
    assert f"Service {name}" in condition(told, "Ready")["message"]  # type: ignore[index]
    assert town.get(ADDRESSES, name)["spec"]["selector"] == {"app": "theirs"}
    town.client.call("DELETE", town.path(ADDRESSES, name))
    town.until_ready(name, seconds=60)
    assert town.get(ADDRESSES, name)["spec"]["selector"] != {"app": "theirs"}


def test_what_somebody_deletes_comes_back(town: Town, name: str) -> None:
    town.create(name)
    status = town.until_ready(name)
    child = f"{name}-{revision(status)}"
    for collection, lost in ((ADDRESSES, name), (CONFIGMAPS, child), (DEPLOYMENTS, child)):
        before = town.get(collection, lost)["metadata"]["uid"]
        town.stage.delete(town.path(collection), lost)
        town.stage.until_object(town.path(collection), lost, lambda o, uid=before: o["metadata"]["uid"] != uid)
    town.until_ready(name, ready=1)


def test_a_successor_of_the_same_name_shows_nothing_of_the_old_one(town: Town, name: str) -> None:
    town.create(name, replicas=2)
    town.until_ready(name, ready=2)
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 4}))
    town.until_ready(name, ready=2)
    old = town.get(SERVICES, name)["metadata"]["uid"]
    town.stage.delete(town.path(SERVICES), name)
    town.stage.until_gone(town.path(SERVICES), name)
    town.create(name)
    status = town.until_ready(name, seconds=60, ready=1, desired=1)
    assert "previousRolledoutRevision" not in status["components"]["predictor"]
    pods = town.stage.until_pods(town.namespace, name, lambda all_: len(all_) == 1)
    assert all(pod["metadata"]["labels"]["slipway.dev/job-uid"] != old for pod in pods.values())


def test_a_deleted_service_leaves_nothing(town: Town, name: str) -> None:
    town.create(name)
    child = f"{name}-{revision(town.until_ready(name))}"
    town.stage.delete(town.path(SERVICES), name)
    for collection, gone in ((SERVICES, name), (DEPLOYMENTS, child), (CONFIGMAPS, child), (ADDRESSES, name)):
        town.stage.until_gone(town.path(collection), gone)
    town.stage.until_pods(town.namespace, name, lambda pods: not pods)


def test_reapplying_writes_nothing_nor_does_a_restart(
    stage: Stage, namespace: str, operators: Callable[..., Operator], name: str
) -> None:
    operator = operators(namespace, **SERVER)
    operator.ready()
    town = Town(stage, namespace)
    town.create(name, replicas=2)
    town.until_ready(name, ready=2)
    if stage.plane.release.minor < CEL_SINCE:
        town.create(f"{name}-wrong", predictor={"model": {}})
        town.until(f"{name}-wrong", lambda s: marked(s, "Stalled", "True", "InvalidSpec"))
    before = len(town.writes())
    town.client.patch(town.path(SERVICES, name), manifest(name, replicas=2))
    assert operator.stop() == 0
    operator.start()
    operator.ready()
    # It has looked at everything once it has done something for a newcomer.
    town.create(f"{name}-next")
    town.until_ready(f"{name}-next", ready=1)
    later = [e["requestURI"] for e in town.writes()[before:] if f"{name}-next" not in e["requestURI"]]
    # A create names its object in its body only: a Service, a ConfigMap, a Deployment and a budget for the newcomer.
    assert not [uri for uri in later if name in uri]
    assert len(later) <= 4, later
    operator.kill()


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(town: Town, operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
