"""The layout that newcomers are told about holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "operator" / "slipway"
CLOCKS = {"now", "utcnow", "monotonic", "time"}
PURE = [
    *(OPERATOR / "reconcile").rglob("*.py"),
    *(OPERATOR / "gang").rglob("*.py"),
    *(OPERATOR / "queueing").rglob("*.py"),
    *(OPERATOR / "trainingjob").glob("*.py"),
    *(OPERATOR / "trainingjob" / "launchers").glob("*.py"),
    *(OPERATOR / "quantizationjob").glob("*.py"),
    *(OPERATOR / "inferenceservice").rglob("*.py"),
    *(OPERATOR / "searchjob").rglob("*.py"),
]
SHELL = {
    OPERATOR / f"{name}.py"
    for name in (
        "gang/reconciler",
        "gang/restore_children",
        "queueing/autoscalers",
        "reconcile/execute",
        "reconcile/namespace_limit",
        "reconcile/parallel_requests",
        "reconcile/pods/startup_events",
        "searchjob/suggestions",
    )
}
SHELL |= set(OPERATOR.glob("*/reconcile.py"))


def test_operator_folder_is_a_source_root_and_shadows_nothing():
    assert not (ROOT / "operator" / "__init__.py").exists()
    import operator

    assert hasattr(operator, "itemgetter")


@pytest.mark.parametrize(
    "path",
    [
        "api",
        "api/common",
        "api/training",
        "api/quantization",
        "api/serving",
        "api/search",
        "api/codegen",
        "runtime",
        "runtime/client",
        "runtime/caching",
        "runtime/servers",
        "runtime/scraping",
        "runtime/connections",
        "reconcile",
        "reconcile/pods",
        "gang",
        "gang/rules",
        "gang/policy",
        "queueing",
        "trainingjob",
        "trainingjob/launchers",
        "quantizationjob",
        "searchjob",
        "searchjob/policy",
        "inferenceservice",
        "inferenceservice/policy",
        "inferenceservice/children",
        "inferenceservice/rollout",
        "inferenceservice/activator",
        "inferenceservice/telemetry",
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
        assert len(path.read_text().splitlines()) <= 130, path
