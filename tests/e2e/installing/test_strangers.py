"""A stranger's way in: a context file, a registry of his own, and namespaces that are not ours; by chart and kustomize.

Two installations for two teams share the cluster. Their nodes have none of the images under the registry's name, so
each pod that runs has been pulled from there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import install
from tests.cluster.base import Cluster
from tests.cluster.images.registry import Registry
from tests.cluster.kubectl import Kubectl
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.paths import REPOSITORY
from tests.e2e.conftest import Job, Namespace
from tests.e2e.installing.own_registry import serving
from tests.e2e.training.steady import ends_well, waiting_job
from tests.unit.install.helm import helm_python
from tests.unit.install.installations import by_kustomize, chart_for

pytestmark = pytest.mark.slow
CONTEXT = "elsewhere"
TEAMS = ("team-chart", "team-kustomize")


@pytest.fixture(scope="module")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("how this cluster's nodes reach a registry on this machine is not known here")
    with serving(cluster, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def environment(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A context file that names the cluster as a user's does, and the registry."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["contexts"][0]["name"] = CONTEXT
    config["current-context"] = ""
    file = tmp_path_factory.mktemp("kube") / "config"
    file.write_text(yaml.safe_dump(config))
    named = {"SLIPWAY_IMAGE_REGISTRY": registry.prefix, "SLIPWAY_REGISTRY_INSECURE": "1"}
    return {"KUBECONFIG": str(file), "KUBE_CONTEXT": CONTEXT, **named}


def make(target: str, environment: dict[str, str], *settings: str) -> str:
    """What `make` prints for its caller, as a person runs it."""
    done = subprocess.run(
        ["make", "-s", target, *settings],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != "SLIPWAY_CLUSTER"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def pushed(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `make push` writes: each image by its digest."""
    file = tmp_path_factory.mktemp("pushed") / "images"
    file.write_text(make("push", environment, f"REGISTRY={environment['SLIPWAY_IMAGE_REGISTRY']}", "TAG=0.1.0"))
    return file


@pytest.fixture
def alone(cluster: Cluster, registry: Registry) -> Iterator[Kubectl]:
    """No other operator; where the usual installation is there, it comes back in the end."""
    kubectl = Kubectl(cluster.kubeconfig, cluster.context)
    usual = install.DEPLOYMENT
    before = kubectl.exists("-n", install.NAMESPACE, usual)
    kept = kubectl.get("-n", install.NAMESPACE, usual) if before else {}
    if before:
        install.uninstall(kubectl)
        install.wait_gone(kubectl, "namespace", install.NAMESPACE)
    install.apply_crds(kubectl)
    for team in TEAMS:
        kubectl("create", "namespace", team)
    yield kubectl
    for team in TEAMS:
        kubectl("delete", "namespace", team, "--wait=false")
    if before:
        (container,) = kept["spec"]["template"]["spec"]["containers"]
        told = {e["name"]: e["value"] for e in container["env"] if e["name"].endswith("_IMAGE")}
        images = {name: told[f"SLIPWAY_{name.upper()}_IMAGE"] for name in ("trainer", "quantizer", "server")}
        install.install(kubectl, images | {"operator": container["image"]})


def digests(pushed: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in pushed.read_text().splitlines()]
    return {name: reference.partition("@")[2] for name, _, reference in lines}


def by_chart(kubectl: Kubectl, cluster: Cluster, registry: Registry, pushed: Path, folder: Path) -> None:
    """`helm install --create-namespace`, by Helm's own library: an operator apart from the namespace it works in."""
    values: dict[str, Any] = {
        "image": {"registry": registry.prefix, "digests": digests(pushed)},
        "watchNamespaces": ["team-chart"],
    }
    with helm_python.Config(kubeconfig_path=str(cluster.kubeconfig), namespace="ml-platform") as config:
        chart = chart_for(folder, kubectl.server_version()[1])
        config.install(str(chart), "slipway", values, namespace="ml-platform", create_namespace=True)
    install.wait_ready(kubectl, "ml-platform")


def by_overlay(kubectl: Kubectl, registry: Registry, folder: Path) -> None:
    """A kustomization of a user's own: two lines, and the suffix that keeps two installations apart."""
    team = "team-kustomize"
    objects = by_kustomize(registry.prefix, team, folder, "namespaced", nameSuffix="-k")
    kubectl.apply(objects)
    install.wait_ready(kubectl, team, "deployment/slipway-operator-k")


def works(kubectl: Kubectl, team: str, registry: Registry) -> None:
    """A job that names no image runs on the trainer's from the registry, and its end is seen."""
    namespace = Namespace(kubectl, team)
    job = waiting_job("steady", "")
    del job["spec"]["trainer"]["image"]
    namespace.apply(job)
    namespace.until("trainingjob", "steady", _runs, "running", 300)
    pods: list[Job] = namespace.pods("steady")
    for pod in pods:
        assert pod["spec"]["containers"][0]["image"].startswith(f"{registry.prefix}/trainer")
        assert pod["status"]["containerStatuses"][0]["imageID"].startswith(f"{registry.prefix}/trainer@sha256:")
    ends_well(namespace, {p["metadata"]["name"]: (p["metadata"]["uid"], 0) for p in pods})


def _runs(job: Job) -> bool:
    marks = (job.get("status") or {}).get("conditions") or []
    return any(mark["type"] == "Running" and mark["status"] == "True" for mark in marks)


def test_two_teams_install_from_a_registry_of_their_own_by_chart_and_by_kustomize(
    alone: Kubectl, cluster: Cluster, registry: Registry, pushed: Path, tmp_path: Path
) -> None:
    by_chart(alone, cluster, registry, pushed, tmp_path / "chart")
    by_overlay(alone, registry, tmp_path)
    try:
        for team in TEAMS:
            works(alone, team, registry)
        leaders = {
            alone.get("-n", home, "lease", "slipway-operator")["spec"]["holderIdentity"]
            for home in ("ml-platform", "team-kustomize")
        }
        assert len(leaders) == 2, "each has its own lease"
        status = alone.get("-n", "ml-platform", "deployment", "slipway-operator")
        (container,) = status["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{registry.prefix}/operator@{digests(pushed)['operator']}"
    finally:
        with helm_python.Config(kubeconfig_path=str(cluster.kubeconfig), namespace="ml-platform") as config:
            config.uninstall("slipway")
        alone(
            "delete",
            "-f",
            "-",
            "--wait=false",
            stdin=yaml.safe_dump_all(
                by_kustomize(registry.prefix, "team-kustomize", tmp_path, "namespaced", nameSuffix="-k")
            ),
        )
        alone("delete", "namespace", "ml-platform", "--wait=false")


def test_make_images_pushes_where_the_context_pulls(environment: dict[str, str], registry: Registry) -> None:
    lines = make("images", environment).splitlines()
    assert [line.partition("=")[0] for line in lines] == ["operator", "trainer", "quantizer", "server"]
    assert all(line.partition("=")[2].startswith(f"{registry.prefix}/") for line in lines)


def test_make_demo_and_a_test_run_on_a_context(
    cluster: Cluster, environment: dict[str, str], registry: Registry
) -> None:
    """The README's words: from the context's name to a prediction, and a test as `make test` runs it."""
    kubectl = Kubectl(cluster.kubeconfig, cluster.context)
    there = kubectl.exists("-n", install.NAMESPACE, install.DEPLOYMENT)
    make("demo", environment)
    deployment = kubectl.get("-n", install.NAMESPACE, install.DEPLOYMENT)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith(f"{registry.prefix}/operator:")
    told = {e["name"]: e.get("value") for e in container["env"]}
    assert str(told["SLIPWAY_SERVER_IMAGE"]).startswith(f"{registry.prefix}/server:")
    one = "tests/e2e/training/test_trainingjob.py::test_one_node_reaches_the_same_accuracy"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", one],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    if not there:
        install.uninstall(kubectl)
