"""Service and ConfigMap of running pods, deleted or changed by hand: made again, and the pods go on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.api.conftest import SHARED as NS
from tests.api.quantizationjob.acts import play
from tests.api.quantizationjob.jobs import Jobs
from tests.api.stage import PATIENCE, Stage
from tests.cluster.rest import ApiError

pytestmark = pytest.mark.api
SERVICES, CONFIGMAPS = "/api/v1/namespaces/{}/services", "/api/v1/namespaces/{}/configmaps"


def _again(stage: Stage, collection: str, name: str, before: dict[str, Any]) -> dict[str, Any]:
    """The object once it is a new one with what the one before had."""

    def same(obj: dict[str, Any]) -> bool:
        spec, was = obj.get("spec") or {}, before.get("spec") or {}
        right = spec.get("selector") == was.get("selector") and obj.get("data") == before.get("data")
        return right and obj["metadata"]["uid"] != before["metadata"]["uid"]

    return stage.until_object(collection.format(NS), name, same)


@pytest.mark.usefixtures("shared_operator")
def test_what_running_pods_lean_on_is_made_again(stage: Stage, name: str) -> None:
    """Deleted by hand, the names of the pods did not resolve any more until the job was restarted."""
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    pods = {pod["metadata"]["uid"] for pod in stage.until_pods(NS, name, bool).values()}
    client = stage.plane.client
    for collection, child in ((SERVICES, f"{name}-nodes"), (CONFIGMAPS, f"{name}-job")):
        before = client.get(f"{collection.format(NS)}/{child}")
        stage.delete(collection.format(NS), child)
        before = _again(stage, collection, child, before)
        change = {"spec": {"selector": {"app": "other"}}} if collection is SERVICES else {"data": {"job.json": "{}"}}
        client.patch(f"{collection.format(NS)}/{child}", change)
        _again(stage, collection, child, before)
    status = stage.job(NS, name)["status"]
    assert (status["restartCount"], status.get("attempt", 0)) == (0, 0)
    assert {pod["metadata"]["uid"] for pod in stage.until_pods(NS, name, bool).values()} == pods
    told = client.get(f"/api/v1/namespaces/{NS}/events?fieldSelector=reason%3DRestored")["items"]
    assert sum(event["involvedObject"]["name"] == name for event in told) >= 1


@pytest.mark.usefixtures("shared_operator")
def test_the_configmap_of_a_quantization_is_made_again(stage: Stage, name: str) -> None:
    jobs = Jobs(stage)
    jobs.create(NS, name, play(hold=lambda place: True))
    jobs.until_condition(NS, name, "Running")
    child = next(
        item["metadata"]["name"]
        for item in stage.plane.client.get(f"{CONFIGMAPS.format(NS)}?labelSelector=slipway.dev/job-name={name}")[
            "items"
        ]
    )
    before = stage.plane.client.get(f"{CONFIGMAPS.format(NS)}/{child}")
    stage.delete(CONFIGMAPS.format(NS), child)
    _again(stage, CONFIGMAPS, child, before)


@pytest.mark.usefixtures("shared_operator")
def test_a_finished_jobs_are_left_deleted_and_one_that_is_held_is_no_failure(stage: Stage, name: str) -> None:
    stage.create(NS, name)
    stage.until_running(NS, name)
    client, path = stage.plane.client, f"{SERVICES.format(NS)}/{name}-nodes"
    client.patch(path, {"metadata": {"finalizers": ["example.com/held"]}})
    stage.delete(SERVICES.format(NS), f"{name}-nodes")
    (pod,) = stage.until_pods(NS, name, bool)
    time.sleep(1.0 * PATIENCE)
    assert stage.job(NS, name)["status"]["restartCount"] == 0
    stage.finish(NS, pod)
    stage.until_condition(NS, name, "Succeeded")
    client.patch(path, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiError):
        client.get(path)
