"""kustomize, the Helm chart and `slipway install` make the same objects; the chart is as its generator says."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import __version__
from slipway.install import chart
from tests.cluster.paths import REPOSITORY
from tests.unit.install.helm import helm_python
from tests.unit.install.installations import (
    CHART,
    Object,
    by_command,
    by_helm,
    by_kustomize,
    compared,
    without_namespace_object,
)

# The chart sets them itself, or they need more than a variable: ports and rights.
NOT_A_USERS = {
    f"SLIPWAY_{name}"
    for name in (
        *("NAMESPACE", "NAMESPACES", "POD_NAMESPACE", "LEASE_NAMESPACE", "LEASE_NAME", "IDENTITY"),
        *("OPERATOR_IMAGE", "TRAINER_IMAGE", "QUANTIZER_IMAGE", "SERVER_IMAGE"),
        *("STATUS_URL", "STATUS_SERVICE", "STATUS_PORT", "STATUS_CERT_DIR", "STATUS_MADE_DIR"),
        *("HEALTH_PORT", "METRICS_PORT", "METRICS_AUTHORIZATION"),
    )
}
REGISTRY, HOME = "registry.example.com/ml/slipway", "ml-platform"


def settled(objects: list[Object]) -> dict[str, Object]:
    """With what is the same in two ways of writing it told in one way."""
    found = compared(objects, without_namespace_object)
    for obj in found.values():
        if obj["kind"] == "Deployment":
            (container,) = obj["spec"]["template"]["spec"]["containers"]
            container.pop("imagePullPolicy", None)
            for variable in container["env"]:
                # The operator takes it for the one beside its own image: tests/unit/test_config.py.
                if variable.get("value", "").startswith("registry.invalid/slipway/"):
                    variable["value"] = variable["value"].replace("registry.invalid/slipway", REGISTRY)
    return found


@pytest.mark.parametrize("available", [False, True], ids=["one", "high-availability"])
def test_the_three_ways_make_the_same_objects(tmp_path: Path, available: bool) -> None:
    overlay = "high-availability" if available else "cluster"
    kustomized = settled(by_kustomize(REGISTRY, HOME, tmp_path, overlay))
    printed = settled(by_command(REGISTRY, HOME, *(["--high-availability"] if available else [])))
    charted = settled(by_helm(REGISTRY, HOME, highAvailability=available))
    assert printed == kustomized
    assert charted == printed


def test_chart_and_command_watch_the_same_namespaces() -> None:
    printed = settled(by_command(REGISTRY, HOME, "--watch-namespaces", "a,b"))
    assert settled(by_helm(REGISTRY, HOME, watchNamespaces=["a", "b"])) == printed


def test_chart_and_command_take_digests(tmp_path: Path) -> None:
    digests = {n: "sha256:" + str(i) * 64 for i, n in enumerate(("operator", "trainer", "quantizer", "server"))}
    pushed = tmp_path / "pushed"
    pushed.write_text("".join(f"{name}={REGISTRY}/{name}:0.1.0@{digest}\n" for name, digest in digests.items()))
    printed = settled(by_command(REGISTRY, HOME, "--images-digest", str(pushed)))
    assert settled(by_helm(REGISTRY, HOME, image={"digests": digests})) == printed
    (container,) = printed[f"Deployment {HOME}/slipway-operator"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/operator@{digests['operator']}"


def test_two_installations_that_watch_namespaces_share_no_name() -> None:
    for make in (
        lambda home: by_command(REGISTRY, home, "--watch-namespaces", "a,b"),
        lambda home: by_helm(REGISTRY, home, watchNamespaces=["a", "b"]),
    ):
        assert not set(compared(make("one"))) & set(compared(make("two")))


def test_what_is_watched_is_all_that_the_operator_may_touch() -> None:
    objects = by_command(REGISTRY, HOME, "--watch-namespaces", "a,b")
    roles = {o["metadata"]["name"]: o["rules"] for o in objects if o["kind"] == "ClusterRole"}
    everywhere = [o["roleRef"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"]
    given = {r for name in everywhere for rule in roles[name] for r in rule["resources"]}
    assert given == {"clustertrainingruntimes", "nodes", "priorityclasses", "tokenreviews"}
    inside = {o["metadata"]["namespace"] for o in objects if o["kind"] == "RoleBinding"}
    assert inside == {"a", "b", HOME}, "its lease is at home"
    whole = [o for o in by_command(REGISTRY, HOME) if o["kind"] == "ClusterRole"]

    def rights(rules: list[Object]) -> set[tuple[str, str, str]]:
        return {
            (g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
        }

    kept = rights(
        [
            rule
            for name, rules in roles.items()
            if name.startswith(("slipway-operator", "slipway-tenant"))
            for rule in rules
        ]
    )
    assert kept == rights(
        [
            rule
            for o in whole
            if o["metadata"]["name"].startswith(("slipway-operator", "slipway-tenant"))
            for rule in o["rules"]
        ]
    )


def test_templates_are_as_the_manifests_say() -> None:
    assert chart.main(["--check", str(CHART)]) == 0, "run: make crds"


def test_a_template_that_is_stale_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "templates").mkdir()
    assert chart.main(["--check", str(tmp_path)]) == 1
    assert chart.main(["--write", str(tmp_path)]) == 0
    (tmp_path / "templates" / "rbac.yaml").write_text("")
    assert chart.main(["--check", str(tmp_path)]) == 1
    assert "rbac.yaml is not as the manifests say: run make crds" in capsys.readouterr().err


def test_the_chart_brings_the_crds_of_the_checkout() -> None:
    ours = {path.name for path in (REPOSITORY / "crds").glob("*.yaml")} - {"kustomization.yaml"}
    assert {path.name for path in (CHART / "crds").iterdir()} == ours
    for name in ours:
        assert (CHART / "crds" / name).resolve() == REPOSITORY / "crds" / name


def test_the_chart_is_of_this_release() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def test_helm_finds_nothing_wrong() -> None:
    found = helm_python.lint(str(CHART))
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


def test_each_setting_is_one_of_the_charts_or_a_users() -> None:
    """A setting that is new has to be put on one side: in charts/slipway/values.schema.json, or here."""
    known = set(re.findall(r'"(SLIPWAY_[A-Z_]+)"', (REPOSITORY / "operator" / "slipway" / "config.py").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())
    users = set(schema["properties"]["settings"]["propertyNames"]["enum"])
    assert users & NOT_A_USERS == set()
    assert users | NOT_A_USERS == known


def test_a_packed_chart_holds_the_crds_and_no_links(tmp_path: Path) -> None:
    packed = helm_python.package(str(CHART), destination=str(tmp_path))
    with tarfile.open(packed) as archive:
        assert all(member.isfile() for member in archive.getmembers())
        for name in ("trainingjobs", "quantizationjobs", "inferenceservices", "searchjobs"):
            file = archive.extractfile(f"slipway/crds/{name}.yaml")
            assert file is not None
            assert file.read() == (REPOSITORY / "crds" / f"{name}.yaml").read_bytes()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image": {"registry": ""}}, "make push REGISTRY"),
    ({"image": {"registry": "team/slipway"}}, "/image/registry"),
    ({"image": {"registry": "https://registry.example.com/x"}}, "/image/registry"),
    ({"image": {"registry": "localhost:5000", "digests": {"trainer": "sha256:0"}}}, "/image/digests/trainer"),
    ({"image": {"registry": "localhost:5000", "digests": {"sever": "sha256:" + "0" * 64}}}, "sever"),
    ({"watchNamespaces": ["Team"]}, "/watchNamespaces/0"),
    ({"watchNamespace": ["team"]}, "watchNamespace"),
    ({"settings": {"SLIPWAY_NAMESPACES": "a"}}, "SLIPWAY_NAMESPACES"),
    ({"settings": {"SLIPWAY_TRAINER_IMAGE": "a"}}, "SLIPWAY_TRAINER_IMAGE"),
    ({"highAvailability": "yes"}, "/highAvailability"),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=lambda one: str(one)[:60])
def test_a_wrong_value_is_refused_in_words(values: dict[str, Any], words: str) -> None:
    with (
        pytest.raises(helm_python.HelmError, match=words),
        helm_python.Chart.load(str(CHART)) as loaded,
    ):
        loaded.render({"image": {"registry": "localhost:5000"}} | values, name="slipway", namespace="ml")


def test_what_a_user_of_charts_sets_arrives() -> None:
    values: dict[str, Any] = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "system"},
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"team": "ml"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "settings": {"SLIPWAY_LOG_LEVEL": "DEBUG", "SLIPWAY_WORKERS": 4},
        "resources": {"limits": {"memory": "1Gi"}},
    }
    for available in (False, True):
        objects = by_helm(REGISTRY, "123", highAvailability=available, **values)
        (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
        template = deployment["spec"]["template"]
        pod, (container,) = template["spec"], template["spec"]["containers"]
        for name in ("imagePullSecrets", "nodeSelector", "priorityClassName"):
            assert pod[name] == values[name]
        assert template["metadata"]["annotations"] == {"team": "ml"}
        assert pod["tolerations"][-1:] == values["tolerations"]
        assert len(pod["tolerations"]) == (3 if available else 1)
        assert container["resources"]["limits"] == {"memory": "1Gi"}
        told = {e["name"]: e.get("value") for e in container["env"]}
        assert (told["SLIPWAY_LOG_LEVEL"], told["SLIPWAY_WORKERS"]) == ("DEBUG", "4")
        assert deployment["metadata"]["namespace"] == "123", "a name of digits stays a name"
    own = {"nodeAffinity": {}}
    (deployment,) = [
        o for o in by_helm(REGISTRY, "ml", highAvailability=True, affinity=own) if o["kind"] == "Deployment"
    ]
    assert deployment["spec"]["template"]["spec"]["affinity"] == own
    for asked in (False, True):
        roles = [
            o for o in by_helm(REGISTRY, "ml", aggregateUserRoles=asked) if o["metadata"]["name"] == "slipway-edit"
        ]
        assert any("aggregate-to-admin" in label for label in roles[0]["metadata"]["labels"]) == asked
    assert not [o for o in by_helm(REGISTRY, "ml", userRoles=False) if o["metadata"]["name"] == "slipway-edit"]
    assert not [o for o in by_helm(REGISTRY, "ml", networkPolicy=False) if o["kind"] == "NetworkPolicy"]
