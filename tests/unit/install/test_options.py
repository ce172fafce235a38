"""What the chart can add, as kustomize makes it: admission policies, authorized metrics, rights in some namespaces."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.admission.policy import FOLDER
from tests.unit.gitops.build import build
from tests.unit.install.helm import helm_python
from tests.unit.install.installations import CHART, Object, by_helm, by_kustomize
from tests.unit.install.test_equal import HOME, REGISTRY, settled

COMPONENTS = REPOSITORY / "manifests" / "components"
POLICY_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder.resolve())


@pytest.mark.parametrize("available", [False, True], ids=["one", "high-availability"])
def test_authorized_metrics_are_those_of_the_component(tmp_path: Path, available: bool) -> None:
    overlay = "high-availability" if available else "cluster"
    component = relative(COMPONENTS / "authorized-metrics", tmp_path)
    kustomized = settled(by_kustomize(REGISTRY, HOME, tmp_path, overlay, components=[component]))
    charted = settled(by_helm(REGISTRY, HOME, highAvailability=available, authorizedMetrics=True))
    for found in (kustomized, charted):
        (container,) = found[f"Deployment {HOME}/slipway-operator"]["spec"]["template"]["spec"]["containers"]
        for field in ("env", "ports"):
            container[field].sort(key=lambda one: one["name"])
    assert charted == kustomized


def test_the_third_role_is_bound_where_a_value_says_so(tmp_path: Path) -> None:
    kustomized = settled(by_kustomize(REGISTRY, HOME, tmp_path, "bound-namespaces"))
    assert "ClusterRoleBinding /slipway-tenant" not in kustomized
    assert settled(by_helm(REGISTRY, HOME, boundNamespaces={"enabled": True})) == kustomized
    charted = settled(by_helm(REGISTRY, HOME, boundNamespaces={"enabled": True, "names": ["team", "other"]}))
    for name in ("team", "other"):
        binding = charted.pop(f"RoleBinding {name}/slipway-tenant")
        assert binding["roleRef"]["name"] == "slipway-tenant"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway-operator", "namespace": HOME}]
    assert charted == kustomized


def policies(objects: list[Object]) -> dict[str, Object]:
    """The policies, their bindings and their parameters."""
    kept = [o for o in objects if o["kind"] in POLICY_KINDS or o["metadata"]["name"] == "slipway-admission"]
    return settled(kept)


@pytest.mark.parametrize("home", ["slipway-system", HOME])
def test_the_policies_are_those_of_the_folder_and_about_the_operator_of_the_release(tmp_path: Path, home: str) -> None:
    charted = by_helm(REGISTRY, home, admissionPolicy={"enabled": True})
    # Where kustomize installs into another namespace, the parameters' is the one line to change.
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    parameters = (FOLDER / "parameters.yaml").read_text()
    (tmp_path / "parameters.yaml").write_text(parameters.replace("slipway-system", home))
    assert policies(charted) == policies(build(tmp_path))
    assert len(policies(charted)) > 20
    assert home in json.dumps(policies(charted))
    assert home == "slipway-system" or "slipway-system" not in json.dumps(policies(charted))


def test_parameters_are_the_folders_until_a_value_says_otherwise() -> None:
    shipped = yaml.safe_load((FOLDER / "parameters.yaml").read_text())["data"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["admissionPolicy"]["parameters"] == shipped
    given = {"enabled": True, "parameters": {"secrets": "hf-token", "claims": "", "namespaceLabel": "team"}}
    (found,) = [o for o in by_helm(REGISTRY, HOME, admissionPolicy=given) if o["kind"] == "ConfigMap"]
    assert found["data"] == {**shipped, **given["parameters"]}


def test_none_of_it_is_there_by_default() -> None:
    objects = by_helm(REGISTRY, HOME)
    assert not {o["kind"] for o in objects} & POLICY_KINDS
    assert "8444" not in json.dumps(objects)
    assert [o for o in objects if o["kind"] == "ClusterRoleBinding" and o["metadata"]["name"] == "slipway-tenant"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"admissionPolicy": {"enabled": True}, "watchNamespaces": ["a"]}, "rules hold for everybody in the cluster"),
    ({"boundNamespaces": {"enabled": True}, "watchNamespaces": ["a"]}, "has its rights in those alone"),
    ({"admissionPolicy": {"enabled": True, "parameters": {"secret": "a"}}}, "secret"),
    ({"admissionPolicy": {"parameters": {"ownNamespace": "yes"}}}, "ownNamespace"),
    ({"boundNamespaces": {"names": ["Team"]}}, "/boundNamespaces/names/0"),
    ({"authorizedMetrics": "on"}, "/authorizedMetrics"),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=lambda one: str(one)[:60])
def test_what_does_not_go_together_is_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm_python.HelmError, match=words):
        by_helm(REGISTRY, HOME, **values)
