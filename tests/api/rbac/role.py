"""manifests/base/rbac.yaml on an API server: applied as it is, and with one right at a time taken away."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import yaml

from tests.api.watching import watch
from tests.cluster.paths import REPOSITORY
from tests.cluster.rest import Client

Object = dict[str, Any]
NAMESPACE, ACCOUNT = "slipway-system", "slipway-operator"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PLURALS = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"}
_PLURALS |= {"Role": "roles", "RoleBinding": "rolebindings"}


class Right(NamedTuple):
    """One verb on one resource. `resource` names a subresource as RBAC does: trainingjobs/status."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def documents(file: str = "rbac.yaml") -> list[Object]:
    """The file's objects, in the operator's namespace where they need one."""
    found = list(yaml.safe_load_all((REPOSITORY / "manifests" / "base" / file).read_text()))
    for document in found:
        if document["kind"] in {"Role", "RoleBinding"}:
            document["metadata"]["namespace"] = NAMESPACE
    return found


def rights() -> list[Right]:
    """All that the file grants to the operator, sorted."""
    roles = [doc for doc in documents() if doc["kind"] in {"Role", "ClusterRole"}]
    rules = [rule for role in roles for rule in role["rules"]]
    return sorted(
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def install(client: Client) -> None:
    """Namespace, service account and rights."""
    client.apply("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    client.apply(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": ACCOUNT}})
    for file in ("rbac.yaml", "user-roles.yaml"):
        for document in documents(file):
            client.apply(_collection(document), document)


def apply(client: Client, document: Object) -> None:
    """One more object of RBAC, as a component has it."""
    client.apply(_collection(document), document)


def aggregate(client: Client) -> None:
    """The people's roles become part of Kubernetes' own, as manifests/components/aggregated-roles asks for it."""
    component = REPOSITORY / "manifests" / "components" / "aggregated-roles" / "kustomization.yaml"
    for patch in yaml.safe_load(component.read_text())["patches"]:
        document = yaml.safe_load(patch["patch"])
        client.patch(_path(document), document)


def disaggregate(client: Client) -> None:
    """Undo `aggregate`; returns when Kubernetes' own roles are what they were."""
    for name in ("slipway-edit", "slipway-view"):
        labels = client.get(f"{_RBAC}/clusterroles/{name}")["metadata"].get("labels") or {}
        gone = {label: None for label in labels if label.startswith("rbac.authorization.k8s.io/aggregate-to-")}
        client.patch(f"{_RBAC}/clusterroles/{name}", {"metadata": {"labels": gone}})
    watch(
        client, f"{_RBAC}/clusterroles", lambda roles: not any(_knows_us(roles[n]) for n in ("admin", "edit", "view"))
    )


def _knows_us(role: Object) -> bool:
    return any("slipway.dev" in (rule.get("apiGroups") or []) for rule in role.get("rules") or [])


@contextmanager
def unbound(client: Client) -> Iterator[None]:
    """As manifests/overlays/bound-namespaces has it, as long as the block lasts: what makes and deletes is nobody's."""
    (binding,) = [doc for doc in documents() if _called(doc) == ("ClusterRoleBinding", "slipway-tenant")]
    try:
        client.call("DELETE", _path(binding))
        yield
    finally:
        client.apply(_collection(binding), binding)


def _called(document: Object) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


@contextmanager
def without(client: Client, right: Right) -> Iterator[None]:
    """One right less, as long as the block lasts. The server's authorizer hears of it within a moment."""
    roles = [doc for doc in documents() if doc["kind"] in {"Role", "ClusterRole"}]
    try:
        for role in roles:
            client.patch(_path(role), {"rules": _reduced(role["rules"], right)})
        yield
    finally:
        for role in roles:
            client.patch(_path(role), {"rules": role["rules"]})


def _reduced(rules: list[Object], right: Right) -> list[Object]:
    """The rules one resource at a time, without the right."""
    reduced = []
    for rule in copy.deepcopy(rules):
        for resource in rule["resources"]:
            hit = right.group in rule["apiGroups"] and resource == right.resource
            verbs = [verb for verb in rule["verbs"] if not (hit and verb == right.verb)]
            if verbs:
                reduced.append({**rule, "resources": [resource], "verbs": verbs})
    return reduced


def _collection(document: Object) -> str:
    namespace = document["metadata"].get("namespace")
    home = f"/namespaces/{namespace}" if namespace else ""
    return f"{_RBAC}{home}/{_PLURALS[document['kind']]}"


def _path(document: Object) -> str:
    return f"{_collection(document)}/{document['metadata']['name']}"
