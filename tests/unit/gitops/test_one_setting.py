"""An installation is moved by one setting each: `namespace:`, and the operator's image. Two of them do not collide."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.config import Config, read_config
from slipway.install import yaml_files
from tests.unit.gitops.build import OVERLAYS, Object, build, of_kind

NAMES = sorted(path.name for path in OVERLAYS.iterdir())
OPERATOR = "registry.invalid/slipway/operator"
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding"}


def moved(folder: Path, overlay: str, **fields: Any) -> list[Object]:
    """The overlay under a kustomization of a user's own."""
    folder.mkdir(exist_ok=True)
    resources = [os.path.relpath(OVERLAYS / overlay, folder.resolve())]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources, **fields}))
    return build(folder)


def config_of(objects: list[Object]) -> Config:
    """The operator's settings as its pod gets them."""
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    pod = {"metadata.namespace": deployment["metadata"]["namespace"], "metadata.name": "a-pod"}
    read = {
        e["name"]: e["value"] if "value" in e else pod[e["valueFrom"]["fieldRef"]["fieldPath"]]
        for e in container["env"]
    }
    return read_config(read)


@pytest.mark.parametrize("overlay", NAMES)
def test_one_namespace_moves_bindings_status_and_lease(tmp_path: Path, overlay: str) -> None:
    objects = moved(tmp_path, overlay, namespace="ml-platform")
    assert "slipway-system" not in yaml_files.written(objects, 120)
    config = config_of(objects)
    assert config.status_url == "https://slipway-status.ml-platform.svc:8443"
    assert config.lease_namespace == "ml-platform"
    subjects = [s for o in objects if o["kind"].endswith("Binding") for s in o["subjects"]]
    assert subjects
    assert {(s["name"], s["namespace"]) for s in subjects} == {("slipway-operator", "ml-platform")}
    assert [n["metadata"]["name"] for n in of_kind(objects, "Namespace")] in (["ml-platform"], [])


@pytest.mark.parametrize("overlay", NAMES)
def test_the_operators_image_moves_all_four(tmp_path: Path, overlay: str) -> None:
    image = {"name": OPERATOR, "newName": "localhost:5000/ml/operator", "newTag": "7"}
    objects = moved(tmp_path, overlay, images=[image])
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost:5000/ml/operator:7"
    config = config_of(objects)
    assert config.trainer_image == "localhost:5000/ml/trainer:7"
    assert config.quantizer_image == "localhost:5000/ml/quantizer:7"
    assert config.server_image == "localhost:5000/ml/server:7"


def test_each_image_can_have_a_digest_of_its_own(tmp_path: Path) -> None:
    digests = {name: "sha256:" + str(n) * 64 for n, name in enumerate(("operator", "trainer", "quantizer", "server"))}
    images = [
        {"name": f"registry.invalid/slipway/{n}", "newName": f"localhost:5000/{n}", "digest": d}
        for n, d in digests.items()
    ]
    config = config_of(moved(tmp_path, "cluster", images=images))
    assert config.trainer_image == f"localhost:5000/trainer@{digests['trainer']}"
    assert config.server_image == f"localhost:5000/server@{digests['server']}"


def test_two_installations_for_teams_have_nothing_of_the_cluster_in_common(tmp_path: Path) -> None:
    a = moved(tmp_path / "a", "namespaced", namespace="team-a", nameSuffix="-a")
    b = moved(tmp_path / "b", "namespaced", namespace="team-b", nameSuffix="-b")

    def names(objects: list[Object]) -> set[tuple[str, str, str]]:
        return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}

    assert not names(a) & names(b)
    assert {kind for kind, namespace, _ in names(a) if not namespace} == CLUSTER_SCOPED
    assert config_of(a).status_url == "https://slipway-status-a.team-a.svc:8443"
    roles = {o["metadata"]["name"] for o in a if o["kind"].endswith("Role")}
    for binding in (o for o in a if o["kind"].endswith("Binding")):
        assert binding["roleRef"]["name"] in roles
        assert [(s["name"], s["namespace"]) for s in binding["subjects"]] == [("slipway-operator-a", "team-a")]


def test_a_team_works_in_its_own_namespace_and_keeps_it(tmp_path: Path) -> None:
    objects = moved(tmp_path, "namespaced", namespace="team-a")
    assert config_of(objects).namespaces == ("team-a",)
    assert of_kind(objects, "Namespace") == [], "deleting the installation must not delete what the team has"
    assert {b["metadata"]["namespace"] for b in of_kind(objects, "RoleBinding")} == {"team-a"}
