"""What a GitOps tool has applied is found as it was applied, after a whole life: only the status is the operator's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tests.api.conftest import SHARED as NS
from tests.api.stage import JOBS, Stage
from tests.cluster.paths import REPOSITORY
from tests.cluster.scripted.script import Exit

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]
ARGOCD = "argocd-controller"
TRACKING = {"argocd.argoproj.io/tracking-id": "digits:slipway.dev/TrainingJob:models/digits"}


def _apply(stage: Stage, body: dict[str, Any]) -> dict[str, Any]:
    """Server-side, as Argo CD does with ServerSideApply=true."""
    path = f"{JOBS.format(NS)}/{body['metadata']['name']}?fieldManager={ARGOCD}&force=true"
    return stage.plane.client.call("PATCH", path, body, "application/apply-patch+yaml")


def _stable(job: dict[str, Any]) -> dict[str, Any]:
    metadata = copy.deepcopy(job["metadata"])
    for volatile in ("resourceVersion", "managedFields"):
        metadata.pop(volatile, None)
    return {"metadata": metadata, "spec": job["spec"]}


def test_spec_metadata_and_annotations_stay_as_applied(stage: Stage, name: str) -> None:
    body = yaml.safe_load((REPOSITORY / "manifests" / "examples" / "trainingjob.yaml").read_text())
    body["metadata"] |= {"name": name, "annotations": TRACKING, "labels": {"team": "vision"}}
    applied = _apply(stage, body)
    assert body["spec"].items() <= _pruned(applied["spec"], body["spec"]).items()
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-1-a0", Exit(code=1))
    stage.until_running(NS, name, attempt=1)
    for index in range(2):
        stage.finish(NS, f"{name}-node-{index}-a1")
    stage.until_condition(NS, name, "Succeeded")
    found = stage.job(NS, name)
    assert _stable(found) == _stable(applied)
    assert found["metadata"]["annotations"] == TRACKING
    assert found["metadata"]["generation"] == 1
    assert "finalizers" not in found["metadata"]
    assert _owners(found, "slipway") == {"f:status"}
    # A second sync, after the end, finds nothing to do: the server writes nothing at all.
    assert _apply(stage, body)["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def _pruned(stored: Any, asked: Any) -> Any:
    """What is stored, as far as it was asked for: the server fills defaults in."""
    if isinstance(asked, dict):
        return {key: _pruned(stored[key], value) for key, value in asked.items()}
    return stored


def _owners(job: dict[str, Any], manager: str) -> set[str]:
    """The top-level fields of which this field manager owns something."""
    return {
        field
        for entry in job["metadata"]["managedFields"]
        if entry["manager"] == manager
        for field in entry["fieldsV1"]
    }
