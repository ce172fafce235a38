"""Each way to install, into a namespace that is not ours: the server takes it, and an operator with exactly what was
installed (its account, its settings) works where it was told to, and nowhere else.

The short version of tests/e2e/installing/test_strangers.py: the operator is a process here, and no image is pulled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.operators import Operator
from tests.api.stage import PATIENCE, Stage
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.ports import free_port
from tests.unit.install.helm import helm_python
from tests.unit.install.installations import by_command, by_helm, by_kustomize, chart_for

pytestmark = pytest.mark.api
Object = dict[str, Any]
REGISTRY = "registry.example.com:5000/ml"
# That the others make the same objects is in tests/unit/install; test_readme.py installs by all three.
WAYS = ["command", pytest.param("chart", marks=pytest.mark.slow), pytest.param("kustomize", marks=pytest.mark.slow)]


def objects_of(way: str, home: str, team: str, folder: Path) -> list[Object]:
    """An installation in `home` that works in `team`."""
    if way == "command":
        return by_command(REGISTRY, home, "--watch-namespaces", team)
    if way == "chart":
        return by_helm(REGISTRY, home, watchNamespaces=[team])
    assert home == team, "kustomize's lives where it works"
    return by_kustomize(REGISTRY, home, folder, "namespaced", nameSuffix=f"-{home}")


def environment(objects: list[Object], folder: Path) -> tuple[str, dict[str, str]]:
    """The account and the settings that the pod of the operator gets, but for its ports."""
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    fields = {"metadata.namespace": deployment["metadata"]["namespace"], "metadata.name": "its-pod"}
    told = {
        e["name"]: e["value"] if "value" in e else fields[e["valueFrom"]["fieldRef"]["fieldPath"]]
        for e in container["env"]
    }
    places = {f"SLIPWAY_STATUS_{kind}_DIR": str(folder / kind) for kind in ("CERT", "MADE")}
    return pod["serviceAccountName"], told | places | {"SLIPWAY_STATUS_PORT": str(free_port())}


@pytest.mark.parametrize("way", WAYS)
def test_an_operator_installed_anywhere_works_where_it_was_told_to(
    stage: Stage, name: str, operators: Callable[..., Operator], tmp_path: Path, way: str
) -> None:
    home, elsewhere = f"{name}-home", stage.namespace(f"{name}-elsewhere")
    team = home if way == "kustomize" else stage.namespace(f"{name}-team")
    kubectl = Kubectl(stage.plane.kubeconfig)
    if not kubectl.exists("namespace", home):
        stage.namespace(home)
    objects = objects_of(way, home, team, tmp_path)
    kubectl.apply(objects)
    account, told = environment(objects, tmp_path)
    operator = operators(
        told.pop("SLIPWAY_NAMESPACES"), stage.plane.kubeconfig_for_service_account(home, account), **told
    )
    operator.ready(60 * PATIENCE)
    for namespace in (team, elsewhere):
        stage.create(namespace, "job", trainer={"command": ["train"]})
    stage.until_running(team, "job")
    (pod,) = stage.until_pods(team, "job", lambda pods: pods).values()
    assert pod["spec"]["containers"][0]["image"] == f"{REGISTRY}/trainer:0.1.0"
    assert stage.job(elsewhere, "job")["status"]["observedGeneration"] == -1, "as the server made it"
    lease = kubectl.get("-n", home, "lease", told.get("SLIPWAY_LEASE_NAME", "slipway-operator"))
    assert lease["spec"]["holderIdentity"].startswith("its-pod_")
    who = f"--as=system:serviceaccount:{home}:{account}"
    kubectl("auth", "can-i", "create", "pods", who, "-n", team, "--quiet")
    with pytest.raises(KubectlError):
        kubectl("auth", "can-i", "list", "pods", who, "-n", elsewhere, "--quiet")
    operator.stop()
    kubectl(
        "delete", "-f", "-", "--wait=false", stdin=yaml.safe_dump_all([o for o in objects if o["kind"] != "Namespace"])
    )


def test_helm_itself_installs_upgrades_and_takes_away(stage: Stage, name: str, tmp_path: Path) -> None:
    """By Helm's library against the server: two releases for two teams, and neither loses what the other gives up."""
    kubectl, teams = Kubectl(stage.plane.kubeconfig), [stage.namespace(f"{name}-{n}") for n in "ab"]
    with_values: dict[str, Any] = {"image": {"registry": REGISTRY}, "watchNamespaces": teams}
    homes, chart = [f"{name}-one", f"{name}-two"], str(chart_for(tmp_path, stage.plane.release.minor))
    for home in homes:
        with helm_python.Config(kubeconfig_path=str(stage.plane.kubeconfig), namespace=home) as config:
            config.install(chart, "slipway", with_values, namespace=home, create_namespace=True)
    with helm_python.Config(kubeconfig_path=str(stage.plane.kubeconfig), namespace=homes[0]) as config:
        config.upgrade(chart, "slipway", with_values | {"watchNamespaces": teams[:1]}, namespace=homes[0])
    assert not kubectl.exists("-n", teams[1], "rolebinding", f"slipway-operator-{homes[0]}")
    assert kubectl.exists("-n", teams[0], "rolebinding", f"slipway-operator-{homes[0]}")
    with helm_python.Config(kubeconfig_path=str(stage.plane.kubeconfig), namespace=homes[0]) as config:
        config.uninstall("slipway")
    for team in teams:
        assert not kubectl.exists("-n", team, "rolebinding", f"slipway-operator-{homes[0]}")
        assert kubectl.exists("-n", team, "rolebinding", f"slipway-operator-{homes[1]}")
    assert kubectl.exists("clusterrole", f"slipway-operator-{homes[1]}")
    assert kubectl.exists("crd", "trainingjobs.slipway.dev"), "jobs outlive the chart"
    with helm_python.Config(kubeconfig_path=str(stage.plane.kubeconfig), namespace=homes[1]) as config:
        config.uninstall("slipway")
    assert not kubectl.exists("clusterrole", f"slipway-operator-{homes[1]}")
    stage.remove(*(f"/api/v1/namespaces/{home}" for home in homes))
