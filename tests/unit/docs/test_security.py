"""The security model's table of rights is the manifest's, and what SECURITY.md denies the manifest does not give."""

from __future__ import annotations

import re

import yaml

from tests.cluster.paths import REPOSITORY

ROW = re.compile(
    r"^\| ([a-z][a-z/, ]+?)(?: \(in the operator's own namespace\))? \| ([a-z, ]+) \| [^|]+ \|$", re.MULTILINE
)
ROLES = [
    document
    for document in yaml.safe_load_all((REPOSITORY / "manifests" / "base" / "rbac.yaml").read_text())
    if document["kind"] in {"ClusterRole", "Role"}
]


def granted() -> dict[str, set[str]]:
    """Verbs by resource."""
    verbs: dict[str, set[str]] = {}
    for rule in (rule for role in ROLES for rule in role["rules"]):
        for resource in rule["resources"]:
            verbs.setdefault(resource, set()).update(rule["verbs"])
    return verbs


def test_the_table_of_rights_is_the_manifests() -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text()
    (table,) = [part for part in text.split("\n\n") if part.startswith("| resource | verbs | what for |")]
    lines = table.splitlines()[2:]
    rows = ROW.findall("\n".join(lines))
    assert len(rows) == len(lines)
    told = {resource: set(verbs.split(", ")) for names, verbs in rows for resource in names.split(", ")}
    assert told == granted()


def test_what_is_denied_is_not_given() -> None:
    words = " ".join((REPOSITORY / "SECURITY.md").read_text().split())
    verbs = granted()
    assert "reads no Secret through the API; it creates one" in words
    assert verbs["secrets"] == {"create"}
    assert "writes `spec` and `metadata` of the TrainingJobs alone that are trials of a SearchJob" in words
    assert verbs["trainingjobs"] & {"create", "update", "patch"} == {"create", "patch"}
    for kind in ("quantizationjobs", "inferenceservices", "searchjobs"):
        assert not verbs[kind] & {"create", "update", "patch"}
    assert "delete" not in verbs["inferenceservices"]
    assert "besides, it writes its Lease" in words
    (own,) = [role for role in ROLES if role["kind"] == "Role"]
    assert [rule["resources"] for rule in own["rules"]] == [["leases"]]
    elsewhere = [rule for role in ROLES if role is not own for rule in role["rules"] if "leases" in rule["resources"]]
    assert not elsewhere
    assert "without a wildcard" in words
    assert not any("*" in resource for resource in verbs)


def test_each_threat_has_a_test() -> None:
    """That the tests are there: test_proofs."""
    text = (REPOSITORY / "docs" / "security.md").read_text()
    (table,) = [part for part in text.split("\n\n") if part.startswith("| who | what he can send |")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    assert {len(row) for row in rows} == {4}
    for row in rows:
        assert re.findall(r"\]\(\.\./(tests/[\w/]+\.py)#(test_\w+)\)", row[3]), row[1]
