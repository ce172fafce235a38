"""An engine cache: a Job builds, a fallback serves or the pods wait, and what was built is loaded by starting anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.inferenceservice.service import JOBS
from slipway.runtime import conditions
from slipway.runtime.client.resource import CONFIGMAPS
from tests.unit.inferenceservice.looks import deployed, look

CACHE = {"uri": "pvc://engines/cache"}
FACTS = {"key": "ab", "architecture": "sm89", "library": "tensorrt-11.4.0", "bytes": 4096, "buildSeconds": 12.5}
Object = dict[str, Any]


def service(status: Object | None = None, engine: Object | None = None, **predictor: Any) -> Object:
    engine = {"name": "tensorrt", "cache": CACHE, **(engine or {})}
    spec = {"predictor": {"model": {"uri": "pvc://models/digits"}, "engine": engine, **predictor}}
    metadata = {"name": "digits", "namespace": "team", "uid": "uid-1", "generation": 1}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def job_of(decision: Any, end: str = "", message: str = "") -> Object:
    """The Job that a plan asked for, as the server shows it."""
    body = next(write.manifest for write in decision.writes if write.resource is JOBS)
    marks = [{"type": end, "status": "True", "message": message}] if end else []
    return {**body, "metadata": {**body["metadata"], "uid": "j-1"}, "status": {"conditions": marks}}


def pod_of(job: Object, state: Object, phase: str) -> Object:
    metadata = {"name": "digits-x", "uid": "p", "labels": job["spec"]["template"]["metadata"]["labels"]}
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": [{"name": "build", "state": state}]}}


def ended(job: Object, code: int, message: str) -> Object:
    phase = "Failed" if code else "Succeeded"
    return pod_of(job, {"terminated": {"exitCode": code, "message": message, "reason": "Error"}}, phase)


def around(job: Object | None, *pods: Object) -> Object:
    return {"jobs": {job["metadata"]["name"]: job} if job else {}, "builds": pods}


def kinds(decision: Any) -> list[str]:
    return [write.manifest["kind"] for write in decision.writes]


def condition(decision: Any, kind: str) -> Object:
    return conditions.get(decision.status["conditions"], kind) or {}


def test_with_tensorrt_alone_the_pods_are_made_when_the_engine_is_there():
    first = look(service())
    assert kinds(first)[-2:] == ["ConfigMap", "Job"]
    assert condition(first, "EngineReady")["reason"] == "EngineBuilding"
    waiting = look(service(first.status), **around(job_of(first)))
    assert "Deployment" not in kinds(waiting)
    done = job_of(first, "Complete")
    told = ended(done, 0, json.dumps({"engine": FACTS}))
    after = look(service(waiting.status), **around(done, told))
    assert "Deployment" in kinds(after)
    assert deployed(after)["spec"]["template"]["metadata"]["annotations"] == {"slipway.dev/engine": "built"}
    assert after.status["engine"] == {"job": done["metadata"]["name"], **FACTS}
    assert condition(after, "EngineReady")["status"] == "True"
    assert "for sm89 with tensorrt-11.4.0" in condition(after, "EngineReady")["message"]
    later = look(service(after.status), [deployed(after, ready=1)], **around(done))
    assert later.status["engine"] == after.status["engine"], "the pod is gone, what it said is not"
    assert not later.patches
    gone = look(service(later.status), [deployed(after, ready=1)], **around(None))
    assert "Job" not in kinds(gone)
    assert gone.status["engine"] == after.status["engine"]


def test_a_fallback_serves_meanwhile_and_starts_again_with_the_engine():
    spec = {"engine": {"name": "auto"}}
    first = look(service(**spec))
    assert {"Job", "Deployment"} <= set(kinds(first))
    assert "a fallback engine serves" in condition(first, "EngineReady")["message"]
    assert "annotations" not in deployed(first)["spec"]["template"]["metadata"]
    serving = deployed(first, ready=1)
    calm = look(service(first.status, **spec), [serving], **around(job_of(first)))
    assert not calm.patches
    assert condition(calm, "Ready")["status"] == "True"
    built = look(service(calm.status, **spec), [serving], **around(job_of(first, "Complete")))
    (patch,) = built.patches
    assert patch.body == {"spec": {"template": {"metadata": {"annotations": {"slipway.dev/engine": "built"}}}}}
    serving["spec"]["template"]["metadata"]["annotations"] = {"slipway.dev/engine": "built"}
    assert not look(service(built.status, **spec), [serving], **around(job_of(first, "Complete"))).patches


def test_beside_one_that_serves_a_new_revision_waits_even_with_a_fallback():
    old = look(service(engine={"name": "auto"}))
    serving = [deployed(old, ready=1)]
    status = look(service(old.status, engine={"name": "auto"}), serving, **around(job_of(old, "Complete"))).status
    newer = {"engine": {"name": "auto"}, "batching": {"maxBatchSize": 8}}
    begun = look(service(status, **newer), serving, **around(job_of(old, "Complete")))
    assert "Job" in kinds(begun)
    assert "Deployment" not in kinds(begun)
    failed = job_of(begun, "Failed", "Job has reached the specified backoff limit")
    jobs = {**around(failed)["jobs"], **around(job_of(old, "Complete"))["jobs"]}
    after = look(service(begun.status, **newer), serving, jobs=jobs)
    assert "Deployment" in kinds(after), "no engine will come, so the fallback has to do"
    assert condition(after, "EngineReady")["reason"] == "EngineBuildFailed"


@pytest.mark.parametrize("last", [False, True])
def test_a_build_that_fails_says_so_in_its_own_words(last):
    first = look(service())
    job = job_of(first, "Failed" if last else "", "Job has reached the specified backoff limit")
    bad = ended(job, 2, "error: TensorRT cannot read the model: no such operator")
    decision = look(service(first.status), **around(job, bad))
    assert "Deployment" not in kinds(decision)
    told = condition(decision, "EngineReady")
    assert told["reason"] == "EngineBuildFailed"
    assert "no such operator" in told["message"]
    assert ("tried again" in told["message"]) == (not last)
    failure = decision.status["modelStatus"]["lastFailureInfo"]
    assert (failure["reason"], failure["exitCode"], failure["pod"]) == ("EngineBuildFailed", 2, "digits-x")
    assert bool(condition(decision, "Stalled")) == last
    assert [notice.reason for notice in decision.notices if notice.type == "Warning"]


def test_a_build_without_a_node_says_so():
    first = look(service())
    job = job_of(first)
    pod = pod_of(job, {"waiting": {"reason": "Pending"}}, "Pending")
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no free GPU"}
    ]
    decision = look(service(first.status), **around(job, pod))
    assert "no free GPU" in condition(decision, "EngineReady")["message"]
    assert condition(decision, "Ready")["reason"] == "Unschedulable"


def test_the_job_runs_where_the_pods_run_and_is_no_endpoint():
    place = {"nodeSelector": {"gpu": "l4"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    decision = look(
        service(engine={"name": "auto"}, pod=place, resources={"limits": {"nvidia.com/gpu": "1"}}, image="own:1")
    )
    job, serving = job_of(decision), deployed(decision)["spec"]["template"]
    template = job["spec"]["template"]
    for field in ("nodeSelector", "tolerations", "securityContext"):
        assert template["spec"][field] == serving["spec"][field]
    (container,), (server,) = template["spec"]["containers"], serving["spec"]["containers"]
    assert container["resources"] == server["resources"]
    assert container["image"] == "own:1"
    assert container["command"] == [*server["command"], "--build-only"]
    assert "readinessProbe" not in container
    address = next(write.manifest for write in decision.writes if write.manifest["kind"] == "Service")
    assert not address["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert job["spec"]["activeDeadlineSeconds"] == 3600


def mounts(pod: Object) -> dict[str, bool]:
    return {
        mount["mountPath"]: mount["readOnly"]
        for mount in pod["spec"]["containers"][0]["volumeMounts"]
        if mount["mountPath"] != "/tmp"
    }


def test_only_the_job_may_write_engines_also_beside_the_model():
    decision = look(service(engine={"name": "auto"}))
    job, serving = job_of(decision)["spec"]["template"], deployed(decision)["spec"]["template"]
    assert mounts(job) == {"/etc/slipway": True, "/mnt/pvc/engines": False, "/mnt/pvc/models": True}
    assert mounts(serving) == {"/etc/slipway": True, "/mnt/pvc/engines": True, "/mnt/pvc/models": True}
    same = look(service(engine={"name": "auto", "cache": {"uri": "pvc://models/engines"}}))
    job, serving = job_of(same)["spec"]["template"], deployed(same)["spec"]["template"]
    assert mounts(job) == {"/etc/slipway": True, "/mnt/pvc/models": False}
    assert mounts(serving) == {"/etc/slipway": True, "/mnt/pvc/models": True}


def test_a_revision_that_waited_in_vain_leaves_nothing_behind():
    first = look(service())
    job = job_of(first)
    config = job["metadata"]["name"].removesuffix("-engine")
    there = {CONFIGMAPS: {config: {"metadata": {"name": config, "uid": "c"}}}}
    edited = look(service(first.status, batching={"maxBatchSize": 8}), beside=there, **around(job))
    assert {(delete.resource.kind, delete.name, delete.uid) for delete in edited.deletes} == {
        ("Job", job["metadata"]["name"], job["metadata"]["uid"]),
        ("ConfigMap", config, "c"),
    }


def test_a_config_map_that_only_a_forged_job_names_is_left_alone():
    """Its name is made of the Job's label: whoever may create Jobs had the operator delete ConfigMaps for him."""
    first = look(service())
    forged = job_of(first)
    forged["metadata"]["labels"]["slipway.dev/revision"] = "settings"
    edited = look(service(first.status, batching={"maxBatchSize": 8}), **around(forged))
    assert [delete.resource.kind for delete in edited.deletes] == ["Job"]


def test_without_a_cache_there_is_no_job_and_no_word_of_it():
    first = look(service())
    plain = look(service(first.status, engine={"cache": None}), **around(job_of(first)))
    assert "Job" not in kinds(plain)
    assert not condition(plain, "EngineReady")


def test_a_canary_whose_engine_cannot_be_built_is_rolled_back_in_the_builds_words():
    rollout = {"rollout": {"strategy": "Canary"}}
    first = look(service())
    made = look(service(first.status), **around(job_of(first, "Complete")))
    serving = [deployed(made, ready=1)]
    status = look(service(made.status), serving, **around(job_of(first, "Complete"))).status

    def canary(status: Object, **jobs: Any) -> Any:
        obj = service(status, batching={"maxBatchSize": 8})
        obj["spec"] |= rollout
        return look(obj, serving, **jobs)

    begun = canary(status)
    failed = job_of(begun, "Failed", "Job has reached the specified backoff limit")
    after = canary(begun.status, **around(failed))
    (entry,) = after.status["canaryStatuses"]
    assert entry["phase"] == "RolledBack"
    assert entry["message"].startswith("the TensorRT engine could not be built: Job has reached")
    assert not [delete for delete in after.deletes if delete.resource.kind == "Deployment"]


def test_deleting_the_job_of_a_failed_build_has_it_tried_again():
    first = look(service())
    failed = look(service(first.status), **around(job_of(first, "Failed", "no GPU")))
    assert "Job" not in kinds(failed)
    again = look(service(failed.status), **around(None))
    assert "Job" in kinds(again)
    assert condition(again, "EngineReady")["reason"] == "EngineBuilding"


def test_the_job_is_given_no_secret_that_only_the_server_reads():
    """It runs what a model's file says, and answers nobody."""
    first = look(service(auth={"secretRef": {"name": "team-keys"}}))
    assert "team-keys" not in json.dumps(job_of(first))
    assert "slipway-keys" not in json.dumps(job_of(first))
