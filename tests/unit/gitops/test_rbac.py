"""What the operator's role says, read rule by rule. That it is enough, and no more: tests/api/rbac."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from slipway.assembly import OURS
from tests.cluster.paths import REPOSITORY

BASE = REPOSITORY / "manifests" / "base"
ROLES = {
    doc["metadata"]["name"]: doc["rules"]
    for file in ("rbac.yaml", "user-roles.yaml")
    for doc in yaml.safe_load_all((BASE / file).read_text())
    if doc["kind"] in {"Role", "ClusterRole"}
}
# The first has what has no namespace, the second what is read and said, the third what is made and deleted.
OPERATOR = ("slipway-operator-cluster", "slipway-operator", "slipway-tenant")
READING = {"get", "list", "watch"}


def _operator_verbs(resource: str, group: str = "slipway.dev") -> set[str]:
    rules = [r for role in OPERATOR for r in ROLES[role] if group in r["apiGroups"] and resource in r["resources"]]
    return {verb for rule in rules for verb in rule["verbs"]}


@pytest.mark.parametrize("role", ROLES)
def test_no_wildcard(role: str) -> None:
    for rule in ROLES[role]:
        for part in ("apiGroups", "resources", "verbs"):
            assert rule[part], rule
            assert not any("*" in word for word in rule[part]), rule


def test_no_verb_is_given_twice() -> None:
    """What is given twice is still given after somebody takes it away."""
    given: list[tuple[str, str, str]] = [
        (group, resource, verb)
        for role in OPERATOR
        for rule in ROLES[role]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(given) == sorted(set(given))


def test_no_secret_is_read() -> None:
    assert not _operator_verbs("secrets", "") & {*READING, "update", "patch", "delete"}


def test_no_right_to_have_more_rights() -> None:
    forbidden = {"escalate", "bind", "impersonate"}
    for rule in (rule for role in OPERATOR for rule in ROLES[role]):
        assert not forbidden & set(rule["verbs"])
        assert not {"rbac.authorization.k8s.io", "certificates.k8s.io"} & set(rule["apiGroups"])
        assert not {"pods/exec", "pods/attach", "serviceaccounts/token", "nodes/proxy"} & set(rule["resources"])


def test_nothing_is_made_or_deleted_by_a_right_that_is_bound_to_the_whole_cluster_only() -> None:
    """What the account can do to a tenant is in the role that can be bound namespace by namespace."""
    said = {("events.k8s.io", "events"), *(("slipway.dev", f"{resource.plural}/status") for resource in OURS.values())}
    asked = {("authentication.k8s.io", "tokenreviews")}
    for role in ("slipway-operator-cluster", "slipway-operator"):
        for rule in ROLES[role]:
            for group, resource in ((g, r) for g in rule["apiGroups"] for r in rule["resources"]):
                assert not set(rule["verbs"]) - READING or (group, resource) in said | asked, resource
    assert not [rule for rule in ROLES["slipway-tenant"] if READING & set(rule["verbs"])]


def test_nobodys_rights_grow_unless_somebody_asks_for_it() -> None:
    """Roles that add themselves to Kubernetes' own are a component."""
    for document in yaml.safe_load_all((BASE / "user-roles.yaml").read_text()):
        assert "labels" not in document["metadata"]
    text = (BASE.parent / "components" / "aggregated-roles" / "kustomization.yaml").read_text()
    patches = [yaml.safe_load(patch["patch"]) for patch in yaml.safe_load(text)["patches"]]
    labels = {patch["metadata"]["name"]: set(patch["metadata"]["labels"]) for patch in patches}
    prefix = "rbac.authorization.k8s.io/aggregate-to"
    assert labels == {"slipway-edit": {f"{prefix}-edit", f"{prefix}-admin"}, "slipway-view": {f"{prefix}-view"}}


@pytest.mark.parametrize("plural", [resource.plural for resource in OURS.values()])
def test_our_own_kinds_are_read_and_their_status_written(plural: str) -> None:
    # Trials of a SearchJob are TrainingJobs.
    made = {"create", "patch"} if plural == "trainingjobs" else set()
    assert READING <= _operator_verbs(plural) <= {*READING, "delete", *made}
    assert _operator_verbs(f"{plural}/status") == {"patch"}


@pytest.mark.parametrize("plural", [resource.plural for resource in OURS.values()])
def test_people_get_what_their_role_says(plural: str) -> None:
    def verbs(role: str) -> set[str]:
        return {verb for rule in ROLES[role] if plural in rule["resources"] for verb in rule["verbs"]}

    assert verbs("slipway-view") == READING
    assert verbs("slipway-edit") == {*READING, "create", "update", "patch", "delete", "deletecollection"}


def test_nobody_writes_a_status_but_the_operator() -> None:
    roles: dict[str, Any] = {name: rules for name, rules in ROLES.items() if name in ("slipway-edit", "slipway-view")}
    assert len(roles) == 2
    for rules in roles.values():
        for rule in rules:
            if any(resource.endswith("/status") for resource in rule["resources"]):
                assert rule["verbs"] == ["get"]
