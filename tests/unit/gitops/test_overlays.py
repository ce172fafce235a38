"""Each overlay builds with kubectl, and is what its first line says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.config import read_config
from slipway.inferenceservice.activator.activator import CONTROL_PORT
from slipway.inferenceservice.service import HTTP_PORT
from tests.unit.gitops.build import OVERLAYS, Object, build, of_kind

NAMES = sorted(path.name for path in OVERLAYS.iterdir())
# What has no namespace: a RoleBinding gives no right to it.
CLUSTER_SCOPED = {"tokenreviews", "subjectaccessreviews", "nodes", "namespaces", "priorityclasses", "persistentvolumes"}


def _operator(name: str) -> Object:
    (deployment,) = of_kind(build(OVERLAYS / name), "Deployment")
    return deployment


def _settings(deployment: Object) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {env["name"]: env.get("value", "from-the-pod") for env in container["env"]}


def test_the_overlays_that_are_documented() -> None:
    assert NAMES == ["bound-namespaces", "cluster", "development", "high-availability", "namespaced"]


@pytest.mark.parametrize("name", NAMES)
def test_the_operator_runs_under_pod_security_restricted(name: str) -> None:
    objects = build(OVERLAYS / name)
    for namespace in of_kind(objects, "Namespace"):
        labels = namespace["metadata"]["labels"]
        levels = {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")}
        assert levels == {"restricted"}
    assert len(of_kind(objects, "Namespace")) == (0 if name == "namespaced" else 1)
    spec = _operator(name)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"Service", "NetworkPolicy", "ServiceAccount"} <= {obj["kind"] for obj in objects}


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_are_settings_that_the_operator_knows(name: str) -> None:
    settings = _settings(_operator(name))
    config = read_config(settings)
    assert config.lease_namespace
    assert config.log_level == settings.get("SLIPWAY_LOG_LEVEL", "INFO")


@pytest.mark.parametrize("name", NAMES)
def test_all_that_has_a_namespace_names_it(name: str) -> None:
    cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for obj in build(OVERLAYS / name):
        assert ("namespace" in obj["metadata"]) == (obj["kind"] not in cluster_wide), obj["metadata"]["name"]


def test_high_availability() -> None:
    objects = build(OVERLAYS / "high-availability")
    deployment = _operator("high-availability")
    assert deployment["spec"]["replicas"] == 2
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"] == {"minAvailable": 1, "selector": {"matchLabels": labels}}
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == labels
    # Two pods that may not share a node, on two nodes: a surge would wait for ever.
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    (policy,) = of_kind(objects, "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["spec"]["ingress"]
    # What it asks of pods, and what a policy without it would leave undecided for ever.
    reached = {port["port"] for rule in policy["spec"]["egress"] if rule.get("to") for port in rule["ports"]}
    assert {HTTP_PORT, CONTROL_PORT} <= reached


def test_namespaced_gives_no_right_outside_its_namespace() -> None:
    objects = build(OVERLAYS / "namespaced")
    assert _settings(_operator("namespaced"))["SLIPWAY_NAMESPACES"] == "from-the-pod"
    bindings = {binding["metadata"]["name"]: binding for binding in of_kind(objects, "ClusterRoleBinding")}
    assert set(bindings) == {"slipway-operator-cluster"}
    inside = {b["roleRef"]["name"]: b["metadata"]["namespace"] for b in of_kind(objects, "RoleBinding")}
    assert inside == dict.fromkeys(("slipway-operator", "slipway-tenant", "slipway-operator-lease"), "slipway-system")


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_namespace_is_given_in_the_cluster(name: str) -> None:
    """A RoleBinding gives no right to it."""
    objects = build(OVERLAYS / name)
    bound = {binding["roleRef"]["name"] for binding in of_kind(objects, "ClusterRoleBinding")}
    for role in of_kind(objects, "ClusterRole"):
        for rule in role["rules"]:
            if set(rule["resources"]) & CLUSTER_SCOPED:
                assert role["metadata"]["name"] in bound


def test_bound_namespaces_let_the_operator_in_one_by_one() -> None:
    objects = build(OVERLAYS / "bound-namespaces")
    bindings = {binding["metadata"]["name"] for binding in of_kind(objects, "ClusterRoleBinding")}
    assert bindings == {"slipway-operator-cluster", "slipway-operator"}
    roles = {role["metadata"]["name"] for role in of_kind(objects, "ClusterRole")}
    # As its first lines say it is bound.
    first = (OVERLAYS / "bound-namespaces" / "kustomization.yaml").read_text()
    assert "--clusterrole slipway-tenant" in first
    assert "slipway-tenant" in roles
    assert not _settings(_operator("bound-namespaces")).get("SLIPWAY_NAMESPACES")


@pytest.mark.parametrize("name", NAMES)
def test_components_build_beside_every_overlay(tmp_path: Path, name: str) -> None:
    folder = OVERLAYS.parent / "components"
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [
                    os.path.relpath(OVERLAYS / name, tmp_path.resolve()),
                    os.path.relpath(OVERLAYS.parent / "monitoring", tmp_path.resolve()),
                ],
                "components": [os.path.relpath(path, tmp_path.resolve()) for path in sorted(folder.iterdir())],
            }
        )
    )
    objects = build(tmp_path)
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    assert roles["slipway-view"]["metadata"]["labels"] == {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    # Metrics go another way, and no other is open.
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert read_config(_settings(deployment)).metrics_authorization
    assert named["metrics"] == read_config({}).metrics_port
    services = {service["metadata"]["name"]: service["spec"]["ports"] for service in of_kind(objects, "Service")}
    assert [(port["port"], port["targetPort"]) for port in services["slipway-metrics"]] == [(8444, "metrics")]
    (policy,) = of_kind(objects, "NetworkPolicy")
    assert {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]} == {8443, named["metrics"]}
    (monitor,) = of_kind(objects, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["scheme"] == "https"


def test_the_network_policy_lets_in_what_the_operator_serves() -> None:
    policy = yaml.safe_load((OVERLAYS.parent / "base" / "network-policy.yaml").read_text())
    open_ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    (container,) = _operator("cluster")["spec"]["template"]["spec"]["containers"]
    assert open_ports == {port["containerPort"] for port in container["ports"]}
    labels = _operator("cluster")["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
