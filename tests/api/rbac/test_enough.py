"""manifests/base/rbac.yaml is enough for everything that the operator does, and holds little else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.rbac.conftest import Guarded, follow
from tests.api.rbac.role import ACCOUNT, NAMESPACE, Right, aggregate, disaggregate, rights
from tests.api.stage import PATIENCE
from tests.cluster.rest import ApiError, Client

pytestmark = pytest.mark.api
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
# What one short life does not need, and why it is granted all the same.
RARE = {
    Right("", "events", "list"): "those of a pod that has not started for some seconds, which a fast life never has",
    Right("events.k8s.io", "events", "patch"): "an event that is told again within ten minutes, once a minute",
    Right("slipway.dev", "inferenceservices", "get"): "as for the jobs, should one be overtaken",
    Right("slipway.dev", "searchjobs", "get"): "one that the operator had no memory for, once it has",
    Right("", "services", "delete"): "those of single revisions, while a gateway splits the traffic",
    Right("batch", "jobs", "get"): "a build that was begun before a crash, and its revision's status was not written",
    Right("batch", "jobs", "patch"): "the same",
    Right("apps", "deployments", "get"): "a revision that was created before a crash, and its status was not written",
}
# Granted for children of kinds of jobs and services that this life does not hold; their own tests need them.
ELSEWHERE = {"secrets", "podgroups", "poddisruptionbudgets", "horizontalpodautoscalers", "httproutes", "grpcroutes"}


def test_enough_and_no_more(guarded: Guarded) -> None:
    before = len(guarded.stage.plane.audit_events())
    guarded.restart().ready()
    life = guarded.life()
    life.begin()

    def finished() -> bool:
        guarded.keep()
        return life.finished()

    done = follow(life, finished, 30 * PATIENCE)
    events = _asked(guarded, before)
    refused = {str(_right(e)) for e in events if e["responseStatus"]["code"] == 403}
    assert not refused, f"manifests/base/rbac.yaml lacks: {refused}"
    assert done, f"{life._done}; {life.told}; {life.statuses()}; {guarded.said()[-3000:]}"
    used = {_right(event) for event in events if "objectRef" in event}
    idle = [r for r in rights() if r not in used and r not in RARE and r.resource not in ELSEWHERE]
    # Nobody asks the server to update finalizers: the right itself is what its admission looks at.
    idle = [right for right in idle if not right.resource.endswith("/finalizers")]
    assert not idle, f"granted, and not used: {', '.join(map(str, idle))}"


def _right(event: dict[str, Any]) -> Right:
    about = event.get("objectRef") or {}
    sub = f"/{about['subresource']}" if "subresource" in about else ""
    return Right(about.get("apiGroup", ""), about.get("resource", "?") + sub, event["verb"])


def _asked(guarded: Guarded, before: int) -> list[dict[str, Any]]:
    """All that the operator has asked for since: ended, as the log has watches when they end; it gives its lease up."""
    assert guarded.operator is not None
    guarded.operator.stop()
    return [event for event in guarded.stage.plane.audit_events()[before:] if event["user"]["username"] == USER]


def _until_allowed(ann: Client, path: str) -> None:
    """The authorizer hears of a role a moment after it is written; nothing tells when."""
    deadline = time.monotonic() + 10 * PATIENCE
    while True:
        try:
            ann.get(path)
        except ApiError as error:
            if error.code != 403 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.mark.parametrize("role", ["admin", "edit", "view"])
def test_nobody_gets_rights_that_nobody_asked_for(guarded: Guarded, role: str) -> None:
    """Before the component is there; the test after this one is for what it adds."""
    rules = guarded.stage.plane.client.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")["rules"]
    assert not [rule for rule in rules if "slipway.dev" in (rule.get("apiGroups") or [])]


@pytest.fixture(scope="module")
def aggregated(guarded: Guarded) -> Iterator[None]:
    """The component's wish, until the file ends."""
    aggregate(guarded.stage.plane.client)
    yield
    disaggregate(guarded.stage.plane.client)


@pytest.mark.usefixtures("aggregated")
@pytest.mark.parametrize(("role", "writes"), [("admin", True), ("edit", True), ("view", False)])
def test_people_have_what_their_role_says(guarded: Guarded, role: str, writes: bool) -> None:
    """Kubernetes' own roles, given in one namespace, hold ours where that was asked for: by the controller manager."""
    plane = guarded.stage.plane
    namespace = guarded.stage.namespace(f"team-{role}")
    binding = {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"ann-{role}"}],
    }
    plane.client.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
    ann = Client(plane.kubeconfig_for_user(f"ann-{role}"))
    jobs = f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/trainingjobs"
    _until_allowed(ann, jobs)
    assert ann.get(jobs)["items"] == []
    body = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "hers"},
        "spec": {"trainer": {"image": "x", "command": ["train"]}},
    }
    if not writes:
        with pytest.raises(ApiError, match='cannot create resource "trainingjobs"'):
            ann.call("POST", jobs, body)
        return
    ann.call("POST", jobs, body)
    with pytest.raises(ApiError, match='cannot patch resource "trainingjobs/status"'):
        ann.patch(f"{jobs}/hers/status", {"status": {"restartCount": 1}})
    with pytest.raises(ApiError, match="403"):
        ann.get("/apis/slipway.dev/v1alpha1/namespaces/default/trainingjobs")
    ann.call("DELETE", f"{jobs}/hers")
