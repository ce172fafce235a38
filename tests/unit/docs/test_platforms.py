"""docs/platforms.md: what it says of OpenShift's restricted-v2 holds for each pod, and its fields are there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.cluster.paths import REPOSITORY
from tests.unit.docs.blocks import section
from tests.unit.rendering.test_examples import PODS
from tests.unit.trainingjob.pods.pod_security import violations

Object = dict[str, Any]
PAGE = REPOSITORY / "docs" / "platforms.md"
# Volumes of the SCC restricted-v2, which knows fewer than Pod Security does. Source: OpenShift's documents, 4.19.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# Examples that say a user of their own, as OpenShift's own range would have to be written instead.
OWN_USER = {"trainingjob-own-code.yaml"}
KINDS = {
    "trainingjob": "spec.",
    "quantizationjob": "spec.",
    "inferenceservice": "spec.",
    "clustertrainingruntime": "spec.",
}


def operator() -> Object:
    """The operator's pod."""
    documents = yaml.safe_load_all((REPOSITORY / "manifests" / "base" / "operator.yaml").read_text())
    (pod,) = [one["spec"]["template"] for one in documents if one["kind"] == "Deployment"]
    return {"metadata": {}, **pod}


def refusals(pod: Object) -> list[str]:
    """What restricted-v2 refuses, or gives only to a user id of the namespace's range."""
    spec = pod["spec"]
    shared = spec.get("securityContext") or {}
    found = [
        *violations(pod),
        *(f"spec.{name}" for name in ("runAsUser", "fsGroup", "supplementalGroups") if name in shared),
    ]
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        context = container.get("securityContext") or {}
        found += [f"{container['name']}: {name}" for name in ("runAsUser", "seLinuxOptions") if name in context]
        found += [f"{container['name']}: hostPort" for port in container.get("ports", []) if "hostPort" in port]
    return found + [f"volume {one['name']}" for one in spec.get("volumes", []) if set(one) - {"name"} - VOLUMES]


@pytest.mark.parametrize(
    ("name", "pod"), [("operator", operator()), *PODS], ids=["operator", *(name for name, _ in PODS)]
)
def test_pods_are_taken_by_restricted_v2(name: str, pod: Object) -> None:
    expected = ["spec.runAsUser", "spec.fsGroup"] if name.partition(":")[0] in OWN_USER else []
    assert refusals(pod) == expected


def test_what_it_refuses_is_found() -> None:
    pod = operator()
    pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/"}})
    pod["spec"]["securityContext"]["runAsUser"] = 10001
    pod["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = ["IPC_LOCK"]
    found = refusals(pod)
    assert {"spec.runAsUser", "volume node"} <= set(found)
    assert any("capabilities.add" in one for one in found)


def test_each_field_is_one_of_the_kinds() -> None:
    text = PAGE.read_text()
    pages = "\n".join((REPOSITORY / "docs" / f"{kind}.md").read_text() for kind in KINDS)
    fields = set(re.findall(r"`((?:pod|trainer|worker|predictor|scheduling|failurePolicy|network)\.\w+)[`:]", text))
    assert len(fields) > 12
    for field in fields:
        assert f"| `spec.{field}` |" in pages, field
    for field in ("nodeVolumes", "rollout.gateway"):
        assert f"| `spec.{field}` |" in pages


def test_each_parameter_of_the_policy_and_of_the_chart_is_one() -> None:
    values = yaml.safe_load((REPOSITORY / "charts" / "slipway" / "values.yaml").read_text())
    parameters = values["admissionPolicy"]["parameters"]
    assert {"serviceAccounts", "audiences"} <= set(parameters)
    assert "imagePullSecrets" in values


def test_each_section_says_what_has_not_been_tried() -> None:
    text = PAGE.read_text()
    assert "No provider's cluster, no OpenShift and no ARM machine has been tried" in text
    assert "has\nnot been tried" in section(PAGE, "## IPv6 and dual stack")
    assert "No image has been built for arm64 yet" in section(PAGE, "## ARM")
