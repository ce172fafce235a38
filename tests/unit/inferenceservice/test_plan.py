"""An InferenceService's plan: the source is waited for and pinned, revisions replace each other without a gap."""

from typing import Any

import pytest

from slipway.reconcile.patch import merge_patch
from slipway.runtime import conditions
from tests.unit.inferenceservice.looks import deployed, look

DIGEST = f"sha256:{'a' * 64}"


def service(status: dict[str, Any] | None = None, generation: int = 1, **spec: Any) -> dict[str, Any]:
    spec.setdefault("predictor", {"model": {"uri": "pvc://models/digits"}})
    metadata = {"name": "digits", "namespace": "team", "uid": "uid-1", "generation": generation}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def from_job(kind: str = "trainingJob") -> dict[str, Any]:
    return {"model": {"from": {kind: "source"}}}


def trained(kind: str = "Succeeded", digest: str = DIGEST, **status: Any) -> dict[str, Any]:
    artifact = {"uri": "pvc://models/digits", "digest": digest}
    mark = {"type": kind, "status": "True", "message": "so it ended"}
    return {"status": {"conditions": [mark], "artifact": artifact, **status}}


def decide(obj: dict[str, Any], deployments=(), pods=(), source=None):
    return look(obj, deployments, pods, source)


def condition(decision, kind: str) -> dict[str, Any]:
    return conditions.get(decision.status["conditions"], kind) or {}


def kinds(decision) -> list[str]:
    return [write.manifest["kind"] for write in decision.writes]


def test_first_look_makes_configuration_address_and_pods_after_pinning_the_model():
    decision = decide(service())
    assert kinds(decision) == ["Service", "PodDisruptionBudget", "ConfigMap", "Deployment"]
    assert decision.persist_first
    assert decision.status["model"] == {"uri": "pvc://models/digits"}
    assert condition(decision, "Ready")["status"] == "Unknown"
    assert condition(decision, "Reconciling")["status"] == "True"


def test_a_source_that_is_not_there_or_not_done_is_waited_for():
    for source in (None, {"status": {}}):
        decision = decide(service(predictor=from_job()), source=source)
        assert not decision.writes
        assert condition(decision, "SourceReady")["reason"] == "WaitingForSource"
        assert condition(decision, "Ready")["status"] == "Unknown"


@pytest.mark.parametrize(
    "source", [trained("Failed"), {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}]
)
def test_a_source_that_failed_or_made_no_artifact_stalls_with_its_reason(source):
    decision = decide(service(predictor=from_job()), source=source)
    assert not decision.writes
    assert condition(decision, "Stalled")["reason"] == "SourceFailed"


def test_the_sources_digest_is_pinned_and_outlives_the_source():
    first = decide(service(predictor=from_job()), source=trained())
    assert first.status["model"] == {"uri": "pvc://models/digits", "digest": DIGEST, "source": "TrainingJob/source"}
    gone = decide(service(first.status, predictor=from_job()), [deployed(first, ready=1)], source=None)
    assert gone.status["model"] == first.status["model"]
    assert condition(gone, "Ready")["status"] == "True"


def test_a_new_artifact_rolls_out_only_when_asked_for():
    first = decide(service(predictor=from_job()), source=trained())
    serving = [deployed(first, ready=1)]
    newer = trained(digest=f"sha256:{'b' * 64}")
    kept = decide(service(first.status, predictor=from_job()), serving, source=newer)
    assert not kept.writes
    rolled = decide(service(first.status, predictor=from_job(), rolloutOn="NewArtifact"), serving, source=newer)
    assert kinds(rolled) == ["ConfigMap", "Deployment"]
    assert rolled.status["model"]["digest"] == f"sha256:{'b' * 64}"


def test_when_all_replicas_serve_it_is_ready_and_nothing_more_is_written():
    first = decide(service())
    done = decide(service(first.status), [deployed(first, ready=1)])
    assert condition(done, "Ready")["status"] == "True"
    assert "Reconciling" not in {c["type"] for c in done.status["conditions"]}
    assert done.status["url"] == "http://digits.team.svc.cluster.local"
    again = decide(service(done.status), [deployed(first, ready=1)])
    assert not again.writes
    assert not again.deletes
    assert not merge_patch(done.status, again.status)


def test_the_old_revision_serves_until_the_new_one_does():
    first = decide(service())
    old = deployed(first, ready=1)
    settled = decide(service(first.status), [old])
    edited = {"model": {"uri": "pvc://models/digits"}, "batching": {"maxBatchSize": 8}}
    second = decide(service(settled.status, 2, predictor=edited), [old])
    assert kinds(second) == ["ConfigMap", "Deployment"]
    assert not second.deletes
    assert condition(second, "PredictorReady")["status"] == "True"
    half = decide(service(second.status, 2, predictor=edited), [old, deployed(second, ready=0, uid="d-2")])
    assert not half.deletes
    full = decide(service(half.status, 2, predictor=edited), [old, deployed(second, ready=1, uid="d-2")])
    assert [(delete.resource.kind, delete.name) for delete in full.deletes] == [
        ("Deployment", old["metadata"]["name"]),
        ("ConfigMap", old["metadata"]["name"]),
    ]
    revisions = full.status["components"]["predictor"]
    assert revisions["latestReadyRevision"] != revisions["previousRolledoutRevision"]


def test_a_revision_whose_server_crashes_blocks_with_its_words_and_the_old_one_goes_on():
    first = decide(service())
    old = deployed(first, ready=1)
    settled = decide(service(first.status), [old])
    broken = {"model": {"uri": "pvc://models/corrupt"}}
    second = decide(service(settled.status, 2, predictor=broken), [old])
    new = deployed(second, uid="d-2")
    ended = {"exitCode": 1, "reason": "Error", "message": "model.onnx: digest mismatch"}
    container = {
        "name": "server",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    pod = {
        "metadata": {
            "name": "digits-x",
            "namespace": "team",
            "uid": "p",
            "labels": new["spec"]["template"]["metadata"]["labels"],
        },
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }
    blocked = decide(service(second.status, 2, predictor=broken), [old, new], [pod])
    assert not blocked.deletes
    assert blocked.status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert blocked.status["modelStatus"]["lastFailureInfo"]["message"] == "model.onnx: digest mismatch"
    assert condition(blocked, "PredictorReady")["status"] == "True"
    assert "goes on serving" in condition(blocked, "Ready")["message"]


def test_scaling_changes_the_deployment_and_not_the_revision():
    first = decide(service())
    settled = decide(service(first.status), [deployed(first, ready=1)])
    scaled = decide(service(settled.status, 2, replicas=3), [deployed(first, ready=1)])
    (patch,) = scaled.patches
    assert not scaled.writes
    assert patch.body == {"spec": {"replicas": 3}}
    assert patch.name == deployed(first)["metadata"]["name"]


def test_a_spec_that_makes_no_sense_touches_nothing():
    decision = decide(service(predictor={"model": {}}))
    assert not decision.writes
    assert condition(decision, "Stalled")["reason"] == "InvalidSpec"
    assert "exactly one of from" in condition(decision, "Stalled")["message"]


def test_pods_leave_without_losing_a_request_and_pass_pod_security():
    body = next(w.manifest for w in decide(service()).writes if w.manifest["kind"] == "Deployment")
    pod = body["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 10 + 30 + 5
    assert body["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == restricted
    assert container["readinessProbe"]["failureThreshold"] == 1
    assert {v["name"]: v for v in pod["volumes"]}["slipway-model"]["persistentVolumeClaim"]["claimName"] == "models"
