"""First lines of docstrings: a noun, or a verb and its object. Words that begin a fragment or a riddle are refused."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("operator/slipway", "workloads")
QUESTIONS = {"What", "Whatever", "Whether", "Whose", "Who", "Where", "When", "Which", "Why", "How"}
FRAGMENTS = {"Of", "Those", "These", "That", "With", "To", "From", "In", "By", "For", "On", "As", "Also", "But", "And"}
REFUSED = QUESTIONS | FRAGMENTS | {"So", "None", "Not", "Only"}
NAMED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def refused(source: str) -> list[str]:
    """First lines of a module's docstrings that begin with a word that no noun or verb is."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, NAMED)]
    lines = [(ast.get_docstring(node) or "").partition("\n")[0] for node in nodes]
    return [line for line in lines if line.partition(" ")[0].rstrip(",:;.") in REFUSED]


def test_first_lines_begin_with_a_noun_or_a_verb() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 400
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := refused(path.read_text()))}
    assert found == {}


def test_a_fragment_is_told() -> None:
    assert refused('"""What goes in."""\ndef f():\n    """Whether it fits."""\n') == [
        "What goes in.",
        "Whether it fits.",
    ]
    assert refused('"""Tell whether it fits."""') == []
