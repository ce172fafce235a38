"""A real API server takes every overlay as it is; nothing is kept, for this is a server-side dry run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.stage import Stage
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.unit.gitops.build import OVERLAYS, build

pytestmark = pytest.mark.api


@pytest.fixture(scope="module", autouse=True)
def homes(stage: Stage) -> Iterator[None]:
    """The namespaces that the overlays name."""
    names = ("slipway-system", "models")
    for name in names:
        stage.namespace(name)
    yield
    stage.remove(*(f"/api/v1/namespaces/{name}" for name in names))


def test_the_server_takes_every_overlay(stage: Stage) -> None:
    kubectl = Kubectl(stage.plane.kubeconfig)
    served = set(kubectl("api-versions").split())
    for overlay in sorted(OVERLAYS.iterdir()):
        objects = build(overlay)
        # policy/v1 came with 1.21, and what went before it is gone since 1.25.
        known = [obj for obj in objects if obj["apiVersion"] in served]
        assert {obj["kind"] for obj in objects if obj not in known} <= {"PodDisruptionBudget"}
        said = kubectl.apply(known, "--dry-run=server")
        assert said.count("(server dry run)") == len(known)


def test_the_server_refuses_what_is_wrong(stage: Stage) -> None:
    """The dry run is one that can fail."""
    (deployment,) = [obj for obj in build(OVERLAYS / "cluster") if obj["kind"] == "Deployment"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replicas": -1}}
    with pytest.raises(KubectlError, match="replicas"):
        Kubectl(stage.plane.kubeconfig).apply([wrong], "--dry-run=server")
