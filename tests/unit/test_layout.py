"""The layout that newcomers are told about holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "operator" / "slipway"
CLOCKS = {"now", "utcnow", "monotonic", "time"}
PURE = [
    *(OPERATOR / "job").glob("*.py"),
    *(OPERATOR / "job" / "policy").glob("*.py"),
    *(OPERATOR / "trainingjob").glob("*.py"),
    *(OPERATOR / "trainingjob" / "launchers").glob("*.py"),
    *(OPERATOR / "quantizationjob").glob("*.py"),
    *(OPERATOR / "inferenceservice").glob("*.py"),
    *(OPERATOR / "inferenceservice" / "policy").glob("*.py"),
]
SHELL = {OPERATOR / "job" / f"{name}.py" for name in ("abreast", "complaints", "execute", "jobs", "keeper", "stubs")}
SHELL |= set(OPERATOR.glob("*/reconcile.py"))


def test_operator_folder_is_a_source_root_and_shadows_nothing():
    assert not (ROOT / "operator" / "__init__.py").exists()
    import operator

    assert hasattr(operator, "itemgetter")


@pytest.mark.parametrize(
    "path",
    [
        "api",
        "runtime",
        "job",
        "job/policy",
        "trainingjob",
        "trainingjob/launchers",
        "quantizationjob",
        "inferenceservice",
        "inferenceservice/policy",
    ],
)
def test_folders_of_the_operator(path):
    assert (OPERATOR / path / "__init__.py").is_file()


FOLDERS = ["crds", "manifests/base", "manifests/overlays", "manifests/examples"]
IMAGES = ["images/operator", "images/trainer", "images/quantizer", "images/server", "images/horovod"]


@pytest.mark.parametrize("name", [*FOLDERS, *IMAGES, "workloads", "docs/adr"])
def test_folders_of_the_project(name):
    assert (ROOT / name).is_dir()


@pytest.mark.parametrize("path", sorted(set(PURE) - SHELL), ids=lambda p: str(p.relative_to(OPERATOR)))
def test_decisions_read_no_clock_and_await_nothing(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{path.name}:{node.lineno} awaits"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"{path.name}:{node.lineno} reads a clock"


def test_only_main_imports_kopf():
    importers = {p.name for p in OPERATOR.rglob("*.py") if "import kopf" in p.read_text()}
    assert importers == {"main.py"}


def test_reconcile_reads_like_a_table_of_contents():
    for path in OPERATOR.glob("*/reconcile.py"):
        assert len(path.read_text().splitlines()) <= 120, path
