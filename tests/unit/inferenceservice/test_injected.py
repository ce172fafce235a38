"""A container that a webhook puts into the pods: what builds the engine, and what serves, is judged alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.inferenceservice.observed import trouble_of
from tests.unit.inferenceservice.looks import NOW, deployed, look
from tests.unit.inferenceservice.test_enginebuild import FACTS, around, condition, job_of, kinds, pod_of, service

Object = dict[str, Any]
GOES_ON = {"running": {}}


def build(job: Object, code: int, proxy: Object, *, message: str = "", ended: datetime = NOW) -> Object:
    """A build's pod with a proxy before the container that builds."""
    finished = ended.strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {"exitCode": code, "message": message, "finishedAt": finished, "reason": "Error"}
    failed = code or (proxy.get("terminated") or {}).get("exitCode")
    body = pod_of(job, {"terminated": terminated}, "Running" if "running" in proxy else "Failed" if failed else "")
    body["status"]["containerStatuses"].insert(0, {"name": "istio-proxy", "state": proxy})
    return body


BUILT = json.dumps({"engine": FACTS})


def deletes(decision: Any) -> list[tuple[str, str]]:
    return [(delete.resource.kind, delete.name) for delete in decision.deletes]


@pytest.mark.parametrize("proxy", [GOES_ON, {"terminated": {"exitCode": 1, "message": "bye"}}], ids=["on", "fails"])
@pytest.mark.parametrize("end", ["", "Failed"], ids=["Job active", "Job failed"])
def test_an_engine_that_is_built_is_used_whatever_becomes_of_the_proxy(proxy: Object, end: str) -> None:
    first = look(service())
    job, later = job_of(first, end), NOW + timedelta(seconds=11)
    after = look(service(first.status), now=later, **around(job, build(job, 0, proxy, message=BUILT)))
    assert after.persist_first, "what the pod said must not go with it"
    assert after.status is not None
    assert after.status["engine"] == {"job": job["metadata"]["name"], **FACTS}
    assert "Deployment" in kinds(after)
    assert deletes(after) == [("Job", job["metadata"]["name"])]
    # Also before the Deployment is there.
    for deployments in ([], [deployed(after)]):
        gone = look(service(after.status), deployments, now=later, **around(None))
        assert "Job" not in kinds(gone)
        assert gone.status is not None
        assert gone.status["engine"] == after.status["engine"]


def test_a_proxy_gets_a_moment_to_end_by_itself() -> None:
    first = look(service())
    job = job_of(first)
    soon = look(service(first.status), **around(job, build(job, 0, GOES_ON, message=BUILT)))
    assert not deletes(soon)
    assert condition(soon, "EngineReady")["reason"] == "EngineBuilding"
    assert soon.requeue_after == 10


def test_a_build_that_fails_beside_a_proxy_that_goes_on_is_tried_again_by_its_job() -> None:
    first = look(service())
    job = job_of(first)
    bad = build(job, 2, GOES_ON, message="no such operator")
    after = look(service(first.status), now=NOW + timedelta(seconds=11), **around(job, bad))
    assert "no such operator" in condition(after, "EngineReady")["message"]
    assert deletes(after) == [("Pod", "digits-x")]


def test_the_words_of_a_proxy_are_not_the_builds() -> None:
    first = look(service())
    job = job_of(first, "Failed", "Job has reached the specified backoff limit")
    bad = build(job, 3, {"terminated": {"exitCode": 137, "message": "proxy was killed"}}, message="no such operator")
    decision = look(service(first.status), **around(job, bad))
    told = condition(decision, "EngineReady")["message"]
    assert "no such operator" in told
    assert "proxy" not in told


def test_a_proxy_that_crashes_is_not_a_model_that_cannot_be_loaded() -> None:
    metadata = {"name": "p", "uid": "u", "labels": {"slipway.dev/revision": "r"}}
    proxy = {"name": "istio-proxy", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    server = {"name": "server", "ready": True, "state": {"running": {}}}
    pod = {"metadata": metadata, "status": {"phase": "Running", "containerStatuses": [proxy, server]}}
    assert trouble_of([pod], "r", datetime.now(UTC)) is None


def test_a_build_that_tells_only_half_of_its_engine_is_no_error() -> None:
    """An architecture without a library raised KeyError at each look, for ever."""
    first = look(service())
    job = job_of(first, "Complete")
    body = pod_of(job, {"terminated": {"exitCode": 0, "message": '{"engine": {"architecture": "sm89"}}'}}, "Succeeded")
    told = condition(look(service(first.status), **around(job, body)), "EngineReady")
    assert told["message"].endswith("the TensorRT engine for sm89 is in the cache")
