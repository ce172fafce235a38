"""Alerts and dashboards ask for metrics and labels that are really exposed, and leave none of ours unseen."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import pytest
import yaml

from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.inferenceservice.activator import activator
from slipway.inferenceservice.children import manifests as service_manifests
from slipway.inferenceservice.service import InferenceService, Platform
from slipway.reconcile import labels
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.build import build, of_kind
from tests.unit.gitops.exposed import TARGET_LABELS, exposed

FOLDER = REPOSITORY / "manifests" / "monitoring"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]["groups"] for rule in group["rules"]
]
EXPOSED = exposed()
PANELS = [(board, panel) for board, body in BOARDS.items() for panel in body["panels"]]
METRIC = re.compile(r"\b((?:slipway|process)_\w+)")
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
    (dashboards,) = of_kind(objects, "ConfigMap")
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
