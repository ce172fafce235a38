"""Every link in the documents leads to a file, and one that names a test leads to a test that exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.cluster.paths import REPOSITORY

NAMES = ("README", "SECURITY", "CONTRIBUTING", "CHANGELOG")
PAGES = [*(REPOSITORY / f"{name}.md" for name in NAMES), *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
FEATURE = re.compile(r"^\| \[.+\]\((?:\.\./)?(tests/[\w/.]+)#(test_\w+)\) \| (.*) \|$", re.MULTILINE)
OTHERS = ["Kubeflow Trainer", "MPI operator", "KServe", "Triton", "ModelOpt", "Olive"]


@functools.cache
def names_in(path: Path) -> set[str]:
    """The names of a module's tests."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def anchors_of(path: Path) -> set[str]:
    """A page's headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_tests_and_headings(page: Path) -> None:
    for _, target, fragment in LINK.findall(page.read_text()):
        root = REPOSITORY if target.startswith("/") else page.parent
        path = root / target.lstrip("/") if target else page
        assert path.exists(), target
        if fragment and path.suffix == ".py":
            assert fragment in names_in(path), f"{target} has no {fragment}"
        elif fragment:
            assert fragment in anchors_of(path), f"{target} has no heading {fragment}"


def test_each_feature_is_held_beside_all_others_and_proved() -> None:
    readme = (REPOSITORY / "docs" / "compare.md").read_text()
    assert f"| {' | '.join(OTHERS)} |" in readme
    (table,) = [part for part in readme.split("\n\n") if f"| {' | '.join(OTHERS)} |" in part]
    rows = FEATURE.findall(table)
    assert len(rows) == len(table.splitlines()) - 2, "a row without a proof"
    for path, test, cells in rows:
        words = [cell.strip() for cell in f" {cells} ".split("|")]
        assert len(words) == len(OTHERS), (test, words)
        assert set(words) <= {"yes", "part", "no", ""}
        assert any(words), f"{path}: {test} is held beside nobody"
    assert len({test for _, test, _ in rows}) == len(rows), "one test for two features"


def test_every_failure_in_operations_names_its_test() -> None:
    readme = (REPOSITORY / "docs" / "operations.md").read_text()
    (table,) = [part for part in readme.split("\n\n") if part.startswith("| what happens | what Slipway does |")]
    for row in table.splitlines()[2:]:
        proofs = [fragment for _, _, fragment in LINK.findall(row)]
        assert proofs, row
        assert all(proof.startswith("test_") for proof in proofs), row
