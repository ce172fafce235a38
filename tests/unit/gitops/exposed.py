"""Which metrics, with which labels, do operator, server and activator expose? Asked of the code itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import yaml
from prometheus_client.parser import text_string_to_metric_families

from slipway.runtime.metrics import Metrics as OperatorMetrics
from slipway.runtime.queue import WorkQueue
from tests.cluster.paths import REPOSITORY
from workloads.activator.request_tracker import RequestTracker
from workloads.serve.telemetry.metrics import Metrics as ServerMetrics

# What Prometheus adds to every series that it scrapes from Kubernetes.
TARGET_LABELS = {"namespace", "pod", "job", "instance", "le"}


def operator() -> dict[str, set[str]]:
    """Sample name -> its labels, after everything has happened once."""
    metrics = OperatorMetrics()
    queue: WorkQueue[str] = WorkQueue(observe_wait=metrics.wait_observer("TrainingJob"))
    metrics.watch_queue("TrainingJob", queue)
    metrics.watch_jobs("TrainingJob", lambda: {"team": {"total": 1}})
    metrics.watch_leading(lambda: True)
    metrics.observe_reconcile("TrainingJob", "success", 0.1)
    metrics.observe_request("get", "200", 0.1)
    metrics.wait_observer("TrainingJob")(0.1)
    metrics.count_dropped_event("overflow")
    metrics.count_progress(200)
    metrics.cut_off_counter("status")
    metrics.observe_loop_lag(0.0)
    return _samples(metrics.render())


def server() -> dict[str, set[str]]:
    """The same; the gauges are those that workloads/serve hangs in when it listens, and when a model is there."""
    metrics = ServerMetrics()
    metrics.queued(0.1)
    metrics.ran(1, 1, 0.1)
    metrics.answered(0.1)
    metrics.ended("timeout")
    metrics.http_replied(200)
    metrics.transformed("preprocess", "success", 0.1)
    metrics.transformed("postprocess", "success", 0.1)
    metrics.gauges |= {name: ("", lambda: 1.0) for name in _gauges()}
    return _samples(metrics.text())


def activator() -> dict[str, set[str]]:
    """The activator's, once a client has come."""
    tracker = RequestTracker()
    tracker.heard()
    return _samples(tracker.text())


def kube_state_metrics() -> dict[str, set[str]]:
    """What kube-state-metrics tells of our resources by our file, and of others, as its documentation has it."""
    config = yaml.safe_load((REPOSITORY / "manifests" / "monitoring" / "kube-state-metrics.yaml").read_text())
    found: dict[str, set[str]] = {}
    for resource in config["spec"]["resources"]:
        for metric in resource["metrics"]:
            marks = {*resource["labelsFromPath"], *metric["each"]["gauge"].get("labelsFromPath", ())}
            name = f"{resource['metricNamePrefix']}_{metric['name']}"
            found.setdefault(name, {"customresource_kind"}).update(marks)
    return found | {
        "kube_pod_container_resource_requests": {"namespace", "pod", "container", "node", "resource", "unit"},
        "kube_pod_status_phase": {"namespace", "pod", "phase"},
        "kube_resourcequota": {"namespace", "resourcequota", "resource", "type"},
    }


def _gauges() -> list[str]:
    trees = [
        ast.parse((REPOSITORY / "workloads" / "serve" / f"{name}.py").read_text()) for name in ("edge/listening", "run")
    ]
    keys = [key for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return [name for name in names if name.startswith("slipway_")]


def _samples(text: bytes) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def exposed() -> Mapping[str, set[str]]:
    """All together."""
    return operator() | server() | activator() | kube_state_metrics()
