"""Writes the Grafana dashboards beside it: `python manifests/monitoring/dashboards.py`. A row of the tables is a panel.

Tests check every metric named here, and in rules.yaml, against what the operator and the server expose.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
KIND = 'kind=~"$kind"'
PODS = 'namespace=~"$namespace",pod=~"$pod"'
# Activators are no servers: the board's choice of pods has none of them.
BESIDE = 'namespace=~"$namespace"'


class Panel(NamedTuple):
    """A graph: its title, unit in Grafana's words, and queries by legend."""

    title: str
    unit: str
    queries: dict[str, str]


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    """A quantile of a histogram over the last minutes."""
    rate = f"rate({metric}_bucket{{{where}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({by}, le) ({rate}))"


def rate(metric: str, by: str, where: str = "") -> str:
    """Per second."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


OPERATOR = [
    Panel("Leader", "none", {"{{pod}}": "slipway_is_leader"}),
    Panel(
        "Looks a second, by result",
        "ops",
        {"{{kind}} {{result}}": rate("slipway_reconcile_duration_seconds_count", "kind, result")},
    ),
    Panel("Time of a look, p99", "s", {"{{kind}}": quantile(0.99, "slipway_reconcile_duration_seconds", "kind")}),
    Panel("Wait in the queue, p99", "s", {"{{kind}}": quantile(0.99, "slipway_workqueue_wait_seconds", "kind")}),
    Panel(
        "Keys that need work",
        "none",
        {"{{kind}} now": "slipway_workqueue_depth", "{{kind}} later": "slipway_workqueue_delayed"},
    ),
    Panel(
        "Marks and retries",
        "ops",
        {
            "{{kind}} marks": rate("slipway_workqueue_adds_total", "kind"),
            "{{kind}} retries": rate("slipway_workqueue_retries_total", "kind"),
        },
    ),
    Panel(
        "Requests to the API server", "reqps", {"{{verb}} {{code}}": rate("slipway_api_requests_total", "verb, code")}
    ),
    Panel("Time of a request, p99", "s", {"{{verb}}": quantile(0.99, "slipway_api_request_duration_seconds", "verb")}),
    Panel("Progress posts of pods", "reqps", {"{{code}}": rate("slipway_progress_posts_total", "code")}),
    Panel(
        "Connections cut off", "ops", {"{{port}} {{limit}}": rate("slipway_connections_cut_off_total", "port, limit")}
    ),
    Panel("Events dropped", "ops", {"{{reason}}": rate("slipway_events_dropped_total", "reason")}),
    Panel("Event loop's lag", "s", {"{{pod}}": "slipway_event_loop_lag_seconds"}),
    Panel("Memory", "bytes", {"{{pod}}": 'process_resident_memory_bytes{job="slipway-metrics"}'}),
    Panel("CPU", "short", {"{{pod}}": 'rate(process_cpu_seconds_total{job="slipway-metrics"}[$__rate_interval])'}),
]


def _count(condition: str) -> str:
    return f'max by (kind) (slipway_jobs{{{KIND},condition="{condition}"}})'


JOBS = [
    Panel("Resources", "none", {"{{kind}}": _count("total")}),
    Panel("Ready or succeeded", "none", {"{{kind}}": _count("Ready")}),
    Panel("On their way", "none", {"{{kind}}": _count("Reconciling")}),
    Panel("Running", "none", {"{{kind}}": _count("Running")}),
    Panel("Succeeded", "none", {"{{kind}}": _count("Succeeded")}),
    Panel("Failed", "none", {"{{kind}}": _count("Failed")}),
    Panel("Waiting for a person", "none", {"{{kind}}": _count("Stalled")}),
    Panel("Suspended", "none", {"{{kind}}": _count("Suspended")}),
    Panel("Restarting", "none", {"{{kind}}": _count("Restarting")}),
    Panel("Conditions", "none", {"{{kind}} {{condition}}": f"max by (kind, condition) (slipway_jobs{{{KIND}}})"}),
]

TEAM = 'namespace=~"$namespace"'
RUNNING = f'on (namespace, pod) group_left () max by (namespace, pod) (kube_pod_status_phase{{phase="Running",{TEAM}}})'
GPUS = 'resource=~"nvidia_com_.*|amd_com_gpu|habana_ai_gaudi|gpu_intel_com_.*"'


def _theirs(condition: str) -> str:
    return f'max by (namespace, kind) (slipway_namespace_jobs{{{TEAM},condition="{condition}"}})'


def _held(where: str) -> str:
    return f"sum by (namespace) (kube_pod_container_resource_requests{{{where},{TEAM}}} * {RUNNING})"


# Accelerators and hours are those of all pods of a namespace, as its quota is.
TEAMS = [
    Panel("Resources", "none", {"{{namespace}} {{kind}}": _theirs("total")}),
    Panel("Running", "none", {"{{namespace}} {{kind}}": _theirs("Running")}),
    Panel("Waiting for a person, or failed", "none", {"{{namespace}} {{kind}}": _theirs("Stalled")}),
    Panel("Accelerators in use", "none", {"{{namespace}}": _held(GPUS)}),
    Panel("CPUs in use", "none", {"{{namespace}}": _held('resource="cpu"')}),
    Panel(
        "Accelerator hours of the last 24 hours",
        "none",
        {"{{namespace}}": f"sum_over_time(({_held(GPUS)})[24h:5m]) / 12"},
    ),
    Panel(
        "Share of the quota in use",
        "percentunit",
        {
            "{{namespace}} {{resource}}": f'max by (namespace, resource) (kube_resourcequota{{{TEAM},type="used"}})'
            f' / max by (namespace, resource) (kube_resourcequota{{{TEAM},type="hard"}} > 0)'
        },
    ),
    Panel(
        "Hours in the line",
        "h",
        {
            "{{namespace}}/{{name}}": f"(time() - slipway_resource_queued_timestamp_seconds{{{TEAM}}}) / 3600"
            " and on (namespace, name, customresource_kind) slipway_resource_queue_position > 0"
        },
    ),
    Panel("Place in the line", "none", {"{{namespace}}/{{name}}": f"slipway_resource_queue_position{{{TEAM}}}"}),
    Panel("Progress", "percent", {"{{namespace}}/{{name}}": f"slipway_resource_progress_percent{{{TEAM}}}"}),
    Panel("Restarts", "none", {"{{namespace}}/{{name}}": f"slipway_resource_restarts{{{TEAM}}} > 0"}),
    Panel(
        "Replicas that serve",
        "none",
        {
            "{{namespace}}/{{name}}": f"slipway_resource_ready_replicas{{{TEAM}}}",
            "{{namespace}}/{{name}} asked": f"slipway_resource_replicas{{{TEAM}}}",
        },
    ),
    Panel(
        "What is not as it should be",
        "none",
        {
            "{{namespace}}/{{name}} {{reason}}": f"slipway_resource_condition{{{TEAM},"
            'type=~"Stalled|Failed|Restarting"} == 1'
        },
    ),
]

SERVING = [
    Panel("Ready", "none", {"{{pod}}": f"slipway_ready{{{PODS}}}"}),
    Panel("Replies", "reqps", {"{{protocol}} {{code}}": rate("slipway_replies_total", "protocol, code", PODS)}),
    Panel(
        "Time in the server",
        "s",
        {
            f"p{share:g}": quantile(share / 100, "slipway_request_seconds", "namespace", PODS)
            for share in (50.0, 95.0, 99.0)
        },
    ),
    Panel("Wait for an engine, p99", "s", {"{{pod}}": quantile(0.99, "slipway_queue_seconds", "pod", PODS)}),
    Panel("Time of a batch, p99", "s", {"{{pod}}": quantile(0.99, "slipway_engine_seconds", "pod", PODS)}),
    Panel(
        "Calls of own code",
        "reqps",
        {"{{step}} {{outcome}}": rate("slipway_transform_calls_total", "step, outcome", PODS)},
    ),
    Panel(
        "Workers of own code",
        "none",
        {
            "{{pod}} all": f"slipway_transform_workers{{{PODS}}}",
            "{{pod}} busy": f"slipway_transform_workers_busy{{{PODS}}}",
            "{{pod}} calls that wait": f"slipway_transform_waiting{{{PODS}}}",
            "{{pod}} restarts": f"slipway_transform_restarts{{{PODS}}}",
        },
    ),
    Panel(
        "Time of own code, p99",
        "s",
        {
            "{{pod}} before": quantile(0.99, "slipway_preprocess_seconds", "pod", PODS),
            "{{pod}} after": quantile(0.99, "slipway_postprocess_seconds", "pod", PODS),
        },
    ),
    Panel("Rows of a batch", "none", {"{{pod}} median": quantile(0.5, "slipway_batch_rows", "pod", PODS)}),
    Panel("Rows a second", "ops", {"{{pod}}": rate("slipway_rows_total", "pod", PODS)}),
    Panel(
        "Share of time that engines work",
        "percentunit",
        {
            "{{pod}}": rate("slipway_engine_busy_seconds_total", "pod", PODS)
            + f" / sum by (pod) (slipway_engines{{{PODS}}})"
        },
    ),
    Panel(
        "Rows waiting and in the server",
        "none",
        {"{{pod}} waiting": f"slipway_queue_rows{{{PODS}}}", "{{pod}} all": f"slipway_rows_in_server{{{PODS}}}"},
    ),
    Panel("Engines that run a batch", "none", {"{{pod}}": f"slipway_engines_busy{{{PODS}}}"}),
    Panel("Requests without a result", "reqps", {"{{reason}}": rate("slipway_rejected_total", "reason", PODS)}),
    Panel("Open connections", "none", {"{{pod}}": f"slipway_connections{{{PODS}}}"}),
    Panel("Bytes of requests in memory", "bytes", {"{{pod}}": f"slipway_request_bytes{{{PODS}}}"}),
    Panel("Scaled to zero: clients held", "none", {"{{pod}}": f"slipway_activator_held{{{BESIDE}}}"}),
    Panel(
        "Scaled to zero: what became of clients",
        "ops",
        {
            f"{{{{pod}}}} {end}": rate(f"slipway_activator_{end}_total", "pod", BESIDE)
            for end in ("forwarded", "expired", "refused", "vanished")
        },
    ),
    Panel("Scaled to zero: connections", "none", {"{{pod}}": f"slipway_activator_connections{{{BESIDE}}}"}),
    Panel(
        "Scaled to zero: since a client sent something", "s", {"{{pod}}": f"slipway_activator_idle_seconds{{{BESIDE}}}"}
    ),
]

DASHBOARDS = {
    "slipway-operator": ("Slipway: operator", OPERATOR, {}),
    "slipway-jobs": ("Slipway: jobs and services", JOBS, {"kind": "label_values(slipway_jobs, kind)"}),
    "slipway-teams": ("Slipway: teams", TEAMS, {"namespace": "label_values(slipway_namespace_jobs, namespace)"}),
    "slipway-serving": (
        "Slipway: serving",
        SERVING,
        {
            "namespace": "label_values(slipway_ready, namespace)",
            "pod": 'label_values(slipway_ready{namespace=~"$namespace"}, pod)',
        },
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """One dashboard as Grafana reads it."""
    title, panels, variables = DASHBOARDS[uid]
    return {
        "uid": uid,
        "title": title,
        "tags": ["slipway"],
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_source(), *(_variable(name, query) for name, query in variables.items())]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    chosen = {"selected": True, "text": "All", "value": "$__all"}
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "includeAll": True,
        "multi": True,
        "current": chosen,
        "refresh": 2,
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend}
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % 3 * 8, "y": number // 3 * 8, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def files() -> dict[str, str]:
    """Every dashboard's file by name."""
    return {f"{uid}.json": json.dumps(dashboard(uid), indent=1) + "\n" for uid in DASHBOARDS}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)
