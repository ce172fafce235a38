"""Fifteen files a folder, 300 lines a file, 40 a function: what a newcomer can look through."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES, LINES, FUNCTION = 15, 300, 40
# Each with the reason why sub-folders would be worse.
FOLDERS = {
    "docs": "pages, which README lists by subject",
    "docs/adr": "a list by number",
    "manifests/argocd/testdata": "one case per kind and health, as Argo CD lays out its own",
    "manifests/examples": "applied by file name, and each begins with its kind",
    "tests/perf/results": "figures, one file per bench",
}
# No logic: a list of one call each, or somebody else's script as he wrote it.
FUNCTIONS = {
    "operator/slipway/runtime/metrics.py:__init__",
    "tests/examples/min_gpt.py:main",
    "workloads/serve/command.py:_parser",
}


def _sources() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def sources() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    return _sources()


def test_no_folder_has_more_files_than_one_looks_through(sources: list[str]) -> None:
    # The folder's own __init__.py says what it is: it is no file to look through.
    counted = Counter(str(Path(name).parent) for name in sources if Path(name).name != "__init__.py")
    assert {folder: n for folder, n in counted.items() if n > FILES and folder not in (".", *FOLDERS)} == {}


def test_no_file_is_longer_than_one_reads_in_a_sitting(sources: list[str]) -> None:
    python = [name for name in sources if name.endswith(".py")]
    long = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in python}
    assert {name: lines for name, lines in long.items() if lines > LINES} == {}


def test_no_function_is_longer_than_a_screen(sources: list[str]) -> None:
    long = {}
    for name in (name for name in sources if name.endswith(".py")):
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION and f"{name}:{node.name}" not in FUNCTIONS:
                    long[f"{name}:{node.name}"] = lines
    assert long == {}
