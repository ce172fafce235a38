"""Alerts and dashboards ask for metrics and labels that are really exposed, and leave none of ours unseen."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.codegen.crd import KINDS, definition
from slipway.api.codegen.reasons import MEANINGS
from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.inferenceservice.activator import activator
from slipway.inferenceservice.children import manifests as service_manifests
from slipway.inferenceservice.service import InferenceService, Platform
from slipway.reconcile import labels
from tests.cluster.paths import REPOSITORY
from tests.needs import unpacked
from tests.unit.gitops.build import build, of_kind
from tests.unit.gitops.exposed import TARGET_LABELS, exposed

FOLDER = REPOSITORY / "manifests" / "monitoring"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]["groups"] for rule in group["rules"]
]
EXPOSED = exposed()
PANELS = [(board, panel) for board, body in BOARDS.items() for panel in body["panels"]]
METRIC = re.compile(r"\b((?:slipway|process|kube)_\w+)")
LABELS = re.compile(r"by \(([^)]*)\)|\{([^}]*)\}")


def _asked(expression: str) -> set[str]:
    return set(METRIC.findall(expression))


def _labels(expression: str) -> set[str]:
    found: set[str] = set()
    for grouped, selected in LABELS.findall(expression):
        found |= {name.strip() for name in grouped.split(",") if name.strip()}
        found |= {re.split(r"[=!]", part, maxsplit=1)[0].strip() for part in selected.split(",") if part.strip()}
    return found


def _check(expression: str) -> None:
    metrics = _asked(expression)
    assert metrics, expression
    assert metrics <= set(EXPOSED), f"not exposed: {metrics - set(EXPOSED)}"
    known = set().union(*(EXPOSED[metric] for metric in metrics)) | TARGET_LABELS
    assert _labels(expression) <= known, f"{expression}: no label {_labels(expression) - known}"
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts(rule: dict[str, Any]) -> None:
    _check(rule["expr"])
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (REPOSITORY / page).read_text(), re.MULTILINE)
    assert not anchor or anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    aggregated = re.search(r"by \(([^)]*)\)", rule["expr"])
    if aggregated:
        assert told <= {name.strip() for name in aggregated[1].split(",")}, "the sum drops these labels"


@pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"]
)
def test_panels(board: str, panel: dict[str, Any]) -> None:
    variables = {variable["name"] for variable in BOARDS[board]["templating"]["list"]} | {"__rate_interval"}
    for target in panel["targets"]:
        _check(target["expr"])
        assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= variables
        grouped = re.search(r"by \(([^)]*)\)", target["expr"])
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        if grouped:
            assert legend <= {name.strip() for name in grouped[1].split(",")}


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    ours = {name for name in EXPOSED if name.startswith("slipway_") and not name.endswith("_created")}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    shown = {
        re.sub(r"_(bucket|count|sum)$", "", metric)
        for _, panel in PANELS
        for target in panel["targets"]
        for metric in _asked(target["expr"])
    }
    assert not families - shown


def test_the_dashboards_are_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("dashboards", FOLDER / "dashboards.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = {path.name: path.read_text() for path in (FOLDER / "dashboards").glob("*.json")}
    assert written == module.files(), "run: python manifests/monitoring/dashboards.py"


RESOURCES = yaml.safe_load((FOLDER / "kube-state-metrics.yaml").read_text())["spec"]["resources"]
KINDS_BY_NAME = {kind.kind: definition(kind) for kind in KINDS}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda found: found["groupVersionKind"]["kind"])
def test_kube_state_metrics_reads_fields_that_exist(resource: dict[str, Any]) -> None:
    """Paths of custom resource metrics: a wrong one gives no series and no error, and no alert ever fires."""
    (version,) = KINDS_BY_NAME[resource["groupVersionKind"]["kind"]]["spec"]["versions"]
    assert resource["groupVersionKind"]["version"] == version["name"]
    for metric in resource["metrics"]:
        gauge = metric["each"]["gauge"]
        found = version["schema"]["openAPIV3Schema"]
        for step in gauge["path"]:
            found = found["properties"][step]
        inner = found["items"]["properties"] if found["type"] == "array" else {}
        for path in [*gauge.get("labelsFromPath", {}).values(), gauge.get("valueFrom", [])]:
            assert all(step in inner for step in path), (metric["name"], path)
        assert inner or found["type"] in {"integer", "number"} or found.get("format") == "date-time", metric["name"]


def test_reasons_that_alerts_ask_for_are_ours() -> None:
    for rule in RULES:
        for matcher in re.findall(r'reason=~?"([^"]*)"', rule["expr"]):
            assert set(matcher.split("|")) <= set(MEANINGS), rule["alert"]


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    """Prometheus's own program works the rules on series that tests write: alerts.yaml beside this file."""
    promtool = unpacked("prometheus", "usr/bin/promtool")
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    shutil.copy(Path(__file__).with_name("alerts.yaml"), tmp_path / "alerts.yaml")
    done = subprocess.run(
        [str(promtool), "test", "rules", str(tmp_path / "alerts.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_finds_what_it_scrapes() -> None:
    objects = build(FOLDER)
    (monitor,) = of_kind(objects, "ServiceMonitor")
    services = list(yaml.safe_load_all((REPOSITORY / "manifests" / "base" / "service.yaml").read_text()))
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (found,) = [s for s in services if wanted <= (s["metadata"].get("labels") or {}).items()]
    assert found["metadata"]["name"] == "slipway-metrics", "the dashboards select by this job name"
    ports = {port["name"] for port in found["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    pods = {monitor["metadata"]["name"]: monitor["spec"] for monitor in of_kind(objects, "PodMonitor")}
    assert pods["slipway-servers"]["selector"]["matchLabels"] == {
        labels.MANAGED: "true",
        labels.KIND: service_manifests.KIND,
    }
    (dashboards,) = [
        found for found in of_kind(objects, "ConfigMap") if found["metadata"]["name"] == "slipway-dashboards"
    ]
    assert {f"{name}.json" for name in BOARDS} == set(dashboards["data"])


def test_prometheus_does_not_wake_a_service_that_sleeps() -> None:
    """What asks an activator at the server's port is a client of the service."""
    pods = {monitor["metadata"]["name"]: monitor["spec"] for monitor in of_kind(build(FOLDER), "PodMonitor")}
    spec = InferenceServiceSpec.model_validate({"predictor": {"model": {"uri": "pvc://m/a"}}})
    service, platform = InferenceService("s", "team", "u", 1, spec), Platform("registry.example.com/slipway/server:1")
    template = activator.activator(service, platform)["spec"]["template"]
    control = {port["name"] for port in template["spec"]["containers"][0]["ports"]} - {"http", "grpc"}

    def finds(monitor: str) -> bool:
        selector, marks = pods[monitor]["selector"], template["metadata"]["labels"]
        named = selector.get("matchLabels", {}).items() <= marks.items()
        return named and all(term["key"] in marks for term in selector.get("matchExpressions", []))

    assert not finds("slipway-servers")
    assert finds("slipway-activators")
    assert {endpoint["port"] for endpoint in pods["slipway-activators"]["podMetricsEndpoints"]} == control
