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
READING = {"get", "list", "watch"}


def _operator_verbs(resource: str, group: str = "slipway.dev") -> set[str]:
    rules = [r for r in ROLES["slipway-operator"] if group in r["apiGroups"] and resource in r["resources"]]
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
        for rule in ROLES["slipway-operator"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(given) == sorted(set(given))


def test_no_secret_is_read() -> None:
    assert not _operator_verbs("secrets", "") & {*READING, "update", "patch", "delete"}


def test_no_right_to_have_more_rights() -> None:
    forbidden = {"escalate", "bind", "impersonate"}
    for rule in ROLES["slipway-operator"]:
        assert not forbidden & set(rule["verbs"])
        assert not {"rbac.authorization.k8s.io", "certificates.k8s.io"} & set(rule["apiGroups"])
        assert not {"pods/exec", "pods/attach", "serviceaccounts/token", "nodes/proxy"} & set(rule["resources"])


@pytest.mark.parametrize("plural", [resource.plural for resource in OURS.values()])
def test_our_own_kinds_are_read_and_their_status_written(plural: str) -> None:
    assert READING <= _operator_verbs(plural) <= {*READING, "delete"}
    assert _operator_verbs(f"{plural}/status") == {"patch"}


@pytest.mark.parametrize("plural", [resource.plural for resource in OURS.values()])
def test_people_get_what_their_role_says(plural: str) -> None:
    def verbs(role: str) -> set[str]:
        return {verb for rule in ROLES[role] if plural in rule["resources"] for verb in rule["verbs"]}

    assert verbs("slipway-view") == READING
    assert verbs("slipway-edit") == {*READING, "create", "update", "patch", "delete", "deletecollection"}


def test_nobody_writes_a_status_but_the_operator() -> None:
    roles: dict[str, Any] = {name: rules for name, rules in ROLES.items() if not name.startswith("slipway-operator")}
    for rules in roles.values():
        for rule in rules:
            if any(resource.endswith("/status") for resource in rule["resources"]):
                assert rule["verbs"] == ["get"]
