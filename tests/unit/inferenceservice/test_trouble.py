"""What goes wrong with a service's pods: what is said of it, what goes on serving, and what is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from slipway.inferenceservice.observed import ready_pods, trouble_of
from slipway.inferenceservice.policy.traffic import Traffic
from slipway.inferenceservice.telemetry import traffic_history
from slipway.inferenceservice.telemetry.traffic_history import TrafficHistory
from slipway.runtime import conditions
from slipway.runtime.scraping.scrape import ScrapeResult
from tests.unit.inferenceservice.looks import NOW, look
from tests.unit.inferenceservice.world import World, begun

ENDED = {"exitCode": 1, "reason": "Error", "message": "model.onnx: digest mismatch"}


def pod(revision: str, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    labels = {"slipway.dev/revision": revision}
    named = {"name": f"digits-{revision}-x", "namespace": "team", "uid": f"p-{revision}", "labels": labels}
    return {"metadata": {**named, **metadata}, "spec": {"nodeName": "n"}, "status": status}


def crashed(revision: str, **ended: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "server", "ready": False, "state": state, "lastState": {"terminated": {**ENDED, **ended}}}
    return pod(revision, {"phase": "Running", "containerStatuses": [container]})


def serving(address: str = "10.0.0.1", **metadata: Any) -> dict[str, Any]:
    ready = {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
    return pod("r", ready, **metadata)


def condition(world: World, kind: str) -> dict[str, Any]:
    return conditions.get(world.status["conditions"], kind) or {}


def upcoming(world: World) -> str:
    """The revision that the next look makes a Deployment for."""
    bodies = [write.manifest for write in world.look().writes if write.manifest["kind"] == "Deployment"]
    return str(bodies[0]["metadata"]["labels"]["slipway.dev/revision"])


def replaced(unready: str = "") -> tuple[World, str, str]:
    """A service without a canary whose second revision does not get ready."""
    world = World()
    (first,) = world.revisions()
    world.spec = {**world.spec, "rollout": {"strategy": "Replace"}}
    world.edit(maxBatchSize=8)
    second = upcoming(world)
    world.unready[second] = unready
    world.settle()
    return world, first, second


def test_no_memory_for_the_model_is_told_from_a_model_that_cannot_be_loaded() -> None:
    found = trouble_of([crashed("a", exitCode=137, reason="OOMKilled", message=None)], "a", NOW)
    assert found is not None
    assert (found.reason, found.exit_code) == ("OOMKilled", 137)
    found = trouble_of([crashed("a")], "a", NOW)
    assert found is not None
    assert (found.reason, found.message) == ("ModelLoadFailed", "model.onnx: digest mismatch")
    assert trouble_of([crashed("a")], "b", NOW) is None, "another revision's"


def test_an_image_that_cannot_be_pulled_is_said_at_once_while_the_old_revision_serves() -> None:
    world, first, second = replaced()
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    world.pods = [pod(second, {"phase": "Pending", "containerStatuses": [{"name": "server", "state": waiting}]})]
    world.settle()
    assert world.status["modelStatus"]["lastFailureInfo"]["reason"] == "ImagePullError"
    assert condition(world, "PredictorReady")["status"] == "True"
    assert set(world.revisions()) == {first, second}


def test_a_revision_that_kubernetes_has_given_up_stalls_and_the_old_one_serves() -> None:
    world, first, _ = replaced(unready="ReplicaSet has timed out progressing")
    assert condition(world, "Stalled")["reason"] == "ProgressDeadlineExceeded"
    assert "timed out" in condition(world, "Stalled")["message"]
    assert condition(world, "PredictorReady")["status"] == "True"
    assert world.revisions()[first] == 4


def test_a_revision_that_never_served_goes_when_another_takes_its_place() -> None:
    world, first, second = replaced()
    world.edit(maxBatchSize=16)
    third = upcoming(world)
    world.unready[third] = ""
    world.settle()
    assert world.revisions() == {first: 4, third: 4}
    assert second not in world.revisions()


def test_what_still_serves_follows_the_scale_while_the_new_one_does_not_come() -> None:
    world, first, _ = replaced()
    world.spec = {**world.spec, "replicas": 6}
    world.settle()
    assert world.revisions()[first] == 6


def test_scaled_to_zero_says_so_and_an_edit_is_no_canary_then() -> None:
    world = World()
    world.spec = {**world.spec, "replicas": 0}
    world.settle()
    assert condition(world, "Ready")["reason"] == "ScaledToZero"
    assert condition(world, "PredictorReady")["status"] == "False"
    world.edit(maxBatchSize=8)
    world.settle()
    assert "canaryStatuses" not in world.status
    assert list(world.revisions().values()) == [0]


def test_scaled_to_zero_in_the_middle_of_a_canary_no_pod_is_left() -> None:
    world, _ = begun()
    world.spec = {**world.spec, "replicas": 0}
    world.settle()
    assert set(world.revisions().values()) == {0}


def test_where_nothing_serves_the_next_revision_is_no_canary() -> None:
    world = World()
    (first,) = world.revisions()
    world.unready[first] = ""
    world.settle()
    world.edit(maxBatchSize=8)
    world.settle()
    assert "canaryStatuses" not in world.status
    assert first not in world.revisions()


@pytest.mark.parametrize("phase", ["Starting", "Analysing"])
def test_a_canary_whose_pods_end_is_rolled_back_though_no_request_came(phase: str) -> None:
    world, first = begun()
    bad = world.canary["name"]
    if phase == "Starting":
        world.edit(maxBatchSize=16)
        bad = upcoming(world)
        world.unready[bad] = "ReplicaSet has timed out progressing"
    else:
        world.pods = [crashed(bad, exitCode=139, message="segmentation fault")]
    world.settle()
    assert (world.canary["phase"], world.canary["reason"]) == ("RolledBack", "ModelLoadFailed")
    assert ("timed out" if phase == "Starting" else "segmentation fault") in world.canary["message"]
    assert world.revisions() == {first: 4}


def test_a_broken_canary_goes_before_the_shrunk_revision_is_whole_again() -> None:
    """It serves nobody: there is nothing to wait for, and its place may be what the others need."""
    world, first = begun()
    world.traffic(61)
    world.settle()
    assert world.revisions()[first] == 1, "three quarters of the traffic were the canary's"
    world.pods = [crashed(world.canary["name"], exitCode=139)]
    world.unready[first] = ""
    world.once()
    world.once()
    assert set(world.revisions()) == {first}


def test_nothing_that_serves_is_taken_away_before_the_canarys_pods_serve() -> None:
    world, first = begun()
    world.unready[world.canary["name"]] = ""
    world.traffic(61)
    world.settle()
    assert (world.canary["step"], world.canary["phase"]) == (1, "Starting")
    assert world.revisions()[first] == 4
    world.unready.clear()
    world.once()
    world.settle()
    assert world.revisions()[first] == 1


def test_figures_that_cannot_be_read_are_said() -> None:
    memory = TrafficHistory()
    pods = [serving()]
    traffic_history.heard_metrics(memory, "w", pods, {"p-r": ScrapeResult(error="connection refused")}, NOW)
    assert memory.unread == "metrics of pod digits-r-x cannot be read: connection refused"
    world, _ = begun()
    decision = look(
        {
            "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
            "spec": world.spec,
            "status": world.status,
        },
        world.deployments.values(),
        now=world.now + timedelta(seconds=5),
        unread=memory.unread,
    )
    assert decision.status is not None
    assert decision.status["canaryStatuses"][0]["message"] == memory.unread
    traffic_history.heard_metrics(memory, "w", pods, {"p-r": ScrapeResult(said=Traffic())}, NOW)
    assert memory.unread == ""


def test_who_is_asked() -> None:
    assert traffic_history.metrics_urls(TrafficHistory(), [serving("10.0.0.1")], NOW) == {
        "p-r": "http://10.0.0.1:8080/metrics"
    }
    assert traffic_history.metrics_urls(TrafficHistory(), [serving("fd00::1")], NOW) == {
        "p-r": "http://[fd00::1]:8080/metrics"
    }
    assert not ready_pods([serving(deletionTimestamp="2026-11-22T12:00:00Z")]), "it is leaving"
    assert traffic_history.model_urls("digits", "other", [serving()]) == {}


def test_a_service_that_is_being_deleted_is_left_alone() -> None:
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "deletionTimestamp": "2026-11-22T12:00:00Z"}
    decision = look({"metadata": metadata, "spec": {"predictor": {"model": {"uri": "pvc://m/a"}}}})
    assert (decision.status, decision.writes, decision.deletes) == (None, (), ())
