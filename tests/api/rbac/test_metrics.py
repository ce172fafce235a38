"""manifests/components/authorized-metrics: metrics for those whom a real API server lets read them."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.api.rbac.conftest import Guarded
from tests.api.rbac.role import apply
from tests.api.stage import PATIENCE
from tests.cluster.paths import REPOSITORY
from tests.ports import free_port

pytestmark = pytest.mark.api
RBAC = "/apis/rbac.authorization.k8s.io/v1"
COMPONENT = REPOSITORY / "manifests" / "components" / "authorized-metrics"


@pytest.fixture(scope="module")
def port(guarded: Guarded) -> Iterator[int]:
    """Where the operator, with the base's rights and the component's, serves them."""
    for document in yaml.safe_load_all((COMPONENT / "rbac.yaml").read_text()):
        apply(guarded.stage.plane.client, document)
    chosen = free_port()
    settings = _settings()
    guarded.restart(**settings, SLIPWAY_METRICS_PORT=str(chosen)).ready(60 * PATIENCE)
    yield chosen
    guarded.end()
    names = ("slipway-metrics-reader", "slipway-operator-reviews")
    guarded.stage.remove(
        *(f"{RBAC}/{kind}/{name}" for kind in ("clusterrolebindings", "clusterroles") for name in names)
    )


def _settings() -> dict[str, str]:
    patches = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())["patches"]
    deployment = yaml.safe_load(patches[0]["patch"])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


@pytest.fixture(scope="module")
def namespace(guarded: Guarded) -> str:
    """Two accounts, of which one may read."""
    client, name = guarded.stage.plane.client, guarded.stage.namespace("monitoring")
    for account in ("prometheus", "stranger"):
        client.apply(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": account}})
    binding: dict[str, Any] = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "slipway-metrics-reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "slipway-metrics-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": name}],
    }
    apply(client, binding)
    return name


def _get(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_are_for_those_who_may_read_them(guarded: Guarded, port: int, namespace: str) -> None:
    plane, url = guarded.stage.plane, f"https://127.0.0.1:{port}/metrics"
    code, text = _get(url, plane.token(namespace, "prometheus"))
    assert code == 200, text
    assert "slipway_is_leader" in text
    code, text = _get(url, plane.token(namespace, "stranger"))
    assert code == 403
    assert "slipway-metrics-reader" in text
    assert _get(url)[0] == 401
    assert _get(url, "made.up.token")[0] == 401
    # What a pod of a job has for its progress is for nothing else.
    assert _get(url, plane.token(namespace, "prometheus", ["slipway.dev/status"]))[0] == 401
    assert guarded.operator is not None
    plain = f"http://127.0.0.1:{guarded.operator.health}"
    assert _get(f"{plain}/metrics", plane.token(namespace, "prometheus"))[0] == 404
    assert _get(f"{plain}/readyz")[0] == 200
