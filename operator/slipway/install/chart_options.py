"""Parts of the Helm chart that are off by default: admission policies, authorized metrics, rights in some namespaces.

Each is made from the manifests that kustomize takes for the same: manifests/admission-policy, the component
authorized-metrics and the overlay bound-namespaces. tests/unit/install hold both to the same objects.
"""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.install import yaml_files

Object = dict[str, Any]
METRICS, POLICIES, BOUND = "authorizedMetrics", "admissionPolicy.enabled", "boundNamespaces.enabled"
TENANT = "slipway-tenant"
_NAMESPACE = "slipway-system"
# Rules that hold for everybody would refuse what another installation's operator makes.
_ONE = (
    '{{- if $.Values.watchNamespaces }}{{ fail "admissionPolicy is for an installation that works in all namespaces:'
    ' its rules hold for everybody in the cluster" }}{{ end }}\n'
)
_SINCE = (
    '{{- if semverCompare "<1.30.0-0" $.Capabilities.KubeVersion.Version }}{{ fail (printf "admissionPolicy needs'
    ' Kubernetes 1.30, this is %s" $.Capabilities.KubeVersion.Version) }}{{ end }}\n'
)
EITHER = (
    "{{- if and $.Values.boundNamespaces.enabled $.Values.watchNamespaces }}"
    '{{ fail "boundNamespaces is for an installation that reads in all namespaces: with watchNamespaces the operator'
    ' has its rights in those alone" }}{{ end }}\n'
)


def when(condition: str, text: str, otherwise: str = "") -> str:
    """The text where a value is set, and the other one where it is not."""
    other = f"{{{{- else }}}}\n{otherwise}" if otherwise else ""
    return f"{{{{- if $.Values.{condition} }}}}\n{text}{other}{{{{- end }}}}\n"


def dump(*objects: Any) -> str:
    """YAML documents of the objects, a line for each value."""
    return "---\n".join(yaml_files.written([obj], width=10_000) for obj in objects)


def documents(manifests: Path, *names: str) -> list[Object]:
    """The objects of these files, those of Lists one by one."""
    found = [one for name in names for one in yaml_files.documents((manifests / name).read_text())]
    return [copy.deepcopy(item) for one in found for item in (one["items"] if one["kind"] == "List" else [one])]


def policies(manifests: Path, namespace: str, labels: str) -> str:
    """The template of the admission policies; `namespace` and `labels` are the marks of the two."""
    folder = manifests / "admission-policy"
    names = yaml_files.document((folder / "kustomization.yaml").read_text())["resources"]
    objects = documents(folder, *names)
    for obj in objects:
        obj["metadata"].setdefault("labels", {})[labels] = None
        if obj["kind"] == "ConfigMap":
            obj["data"] = {"zzparameters": None}
    text = dump(*objects).replace(_NAMESPACE, namespace)
    text = text.replace("  zzparameters: null\n", "  {{- toYaml $.Values.admissionPolicy.parameters | nindent 2 }}\n")
    return when(POLICIES, f"{_ONE}{_SINCE}{text}")


def reviews(manifests: Path, namespace: str, labels: str, suffix: str) -> str:
    """The rights that authorized metrics need, and the role of who reads them."""
    objects = documents(manifests / "components" / "authorized-metrics", "rbac.yaml")
    for obj in objects:
        obj["metadata"].setdefault("labels", {})[labels] = None
        obj["metadata"]["name"] += suffix
        if "roleRef" in obj:
            obj["roleRef"]["name"] += suffix
    return when(METRICS, dump(*objects).replace(_NAMESPACE, namespace))


def bound(everywhere: Sequence[Object], labels: str) -> str:
    """Template of the operator's roles and bindings, where the third role can be given to some namespaces only."""
    (whole,) = [obj for obj in everywhere if (obj["kind"], obj["metadata"]["name"]) == ("ClusterRoleBinding", TENANT)]
    others = [obj for obj in everywhere if obj is not whole]
    one = copy.deepcopy(whole) | {"kind": "RoleBinding"}
    one["metadata"] = {"name": TENANT, "namespace": "zzwatched", "labels": {labels: None}}
    each = f"{{{{- range $.Values.boundNamespaces.names }}}}\n---\n{dump(one)}{{{{- end }}}}\n"
    return f"{dump(*others)}{when(BOUND, each, '---' + chr(10) + dump(whole))}"


def container(text: str) -> str:
    """Template of the Deployment, told to ask whether metrics may be read, with a port for them."""
    variable = '        - name: SLIPWAY_METRICS_AUTHORIZATION\n          value: "on"\n'
    port = "        - name: metrics\n          containerPort: 8444\n          protocol: TCP\n"
    text = _before(text, "        ports:\n", when(METRICS, variable))
    return _before(text, "        startupProbe:\n", when(METRICS, port))


def service(text: str) -> str:
    """Template of the Service for metrics, on the port that asks."""
    port = "  - name: metrics\n    port: 8080\n    protocol: TCP\n    targetPort: health\n"
    asking = port.replace("8080", "8444").replace("health", "metrics")
    return _replaced(text, port, when(METRICS, asking, port))


def network_policy(text: str) -> str:
    """Opens the port of the metrics, which is the probes' by default."""
    port = "    - port: 8080\n      protocol: TCP\n"
    ingress, rest = re.split(r"(?<=\n)(?=\{\{- if [^\n]*highAvailability \}\}\n  egress:)", text, maxsplit=1)
    return _replaced(ingress, port, when(METRICS, port.replace("8080", "8444"), port)) + rest


def _before(text: str, line: str, added: str) -> str:
    return _replaced(text, line, added + line)


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"manifests/base: {old!r} is there {text.count(old)} times, the chart knows it once")
    return text.replace(old, new)
