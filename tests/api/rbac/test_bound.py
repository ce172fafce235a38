"""manifests/overlays/bound-namespaces: where the operator is not let in it makes nothing, says so, and asks seldom."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.rbac.conftest import Guarded
from tests.api.rbac.role import ACCOUNT, NAMESPACE, unbound
from tests.api.stage import PATIENCE, condition
from tests.api.watching import watch

pytestmark = pytest.mark.api
RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "/apis/slipway.dev/v1alpha1"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
WORDS = "bind ClusterRole slipway-tenant in this one"
# As long as this is watched how often the server is asked again.
SECONDS = 8.0
MADE = (
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/services",
    "/apis/apps/v1/namespaces/{}/deployments",
)
_numbers = itertools.count()


@pytest.fixture
def stranger(guarded: Guarded) -> Iterator[str]:
    """A namespace that is not bound; an operator that is bound nowhere works."""
    with unbound(guarded.stage.plane.client):
        guarded.restart().ready(60 * PATIENCE)
        namespace = guarded.stage.namespace(f"stranger-{next(_numbers)}")
        yield namespace
        guarded.end()
        for plural, name in (("trainingjobs", "waits"), ("inferenceservices", "serves")):
            guarded.stage.delete(f"{GROUP}/namespaces/{namespace}/{plural}", name)


def _serve(guarded: Guarded, namespace: str) -> None:
    body = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "serves"},
        "spec": {"predictor": {"model": {"uri": "pvc://models/digits"}}},
    }
    guarded.stage.plane.client.call("POST", f"{GROUP}/namespaces/{namespace}/inferenceservices", body)


def _told(guarded: Guarded, namespace: str, plural: str, name: str) -> None:
    """Until the object's condition says what is missing."""

    def says(found: dict[str, Any]) -> bool:
        ready = condition((found.get(name) or {}).get("status") or {}, "Ready")
        return ready is not None and WORDS in ready["message"]

    watch(guarded.stage.plane.client, f"{GROUP}/namespaces/{namespace}/{plural}", says, seconds=30 * PATIENCE)


def _asked(guarded: Guarded, namespace: str) -> int:
    events = guarded.stage.plane.audit_events()
    mine = [event for event in events if event["user"]["username"] == USER]
    return len([event for event in mine if (event.get("objectRef") or {}).get("namespace") == namespace])


def test_a_namespace_that_is_not_bound_is_told_so_and_costs_little(guarded: Guarded, stranger: str) -> None:
    client = guarded.stage.plane.client
    guarded.stage.create(stranger, "waits")
    _serve(guarded, stranger)
    _told(guarded, stranger, "trainingjobs", "waits")
    _told(guarded, stranger, "inferenceservices", "serves")
    refused = condition(guarded.stage.job(stranger, "waits")["status"], "Created")
    assert refused is not None
    assert refused["reason"] == "CreateRefused"
    before = _asked(guarded, stranger)
    time.sleep(SECONDS)  # what is measured is that little happens
    # Two objects, each with a ConfigMap and a Service that are tried about as often as the time has doubled.
    assert _asked(guarded, stranger) - before < 60
    for place in (
        "api/v1/namespaces/{}/pods",
        "api/v1/namespaces/{}/services",
        "apis/apps/v1/namespaces/{}/deployments",
    ):
        assert client.get(f"/{place.format(stranger)}")["items"] == []
    binding = {
        "metadata": {"name": "slipway-tenant"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "slipway-tenant"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    }
    client.call("POST", f"{RBAC}/namespaces/{stranger}/rolebindings", binding)
    guarded.stage.until_running(stranger, "waits")
    assert guarded.operator is not None
    assert guarded.operator.running()
