"""Parts of a service's objects that are worth keeping: the cache holds no more of each. Pure.

Whoever may create objects in a namespace can put our label on his own, as large as the server takes them.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from slipway.inferenceservice.rollout.mirror import FILE
from slipway.inferenceservice.service import ENGINE
from slipway.reconcile.configmap_digest import INTACT, intact
from slipway.runtime.client.resource import Object
from slipway.runtime.client.transform import conditions, pick, slim

# Of a list of rules, of backends or of gateways: far more than a route of ours has.
MOST = 32
MAX_TEXT = 1024


def deployment(obj: Object) -> Object:
    """Keep a workload's size, whether its pods have an engine, and its status."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    marks = ((spec.get("template") or {}).get("metadata") or {}).get("annotations") or {}
    template = {"metadata": {"annotations": {ENGINE: str(marks[ENGINE])[:MAX_TEXT]} if ENGINE in marks else {}}}
    return _bare(obj) | {
        "spec": pick(spec, "replicas") | {"template": template},
        "status": pick(status, "observedGeneration", "readyReplicas", "updatedReplicas")
        | {"conditions": conditions(status.get("conditions"))},
    }


def address(obj: Object) -> Object:
    """Keep a Service's selector and ports."""
    spec = obj.get("spec") or {}
    ports = [pick(port, "port") for port in (spec.get("ports") or [])[:MOST]]
    return _bare(obj) | {"spec": {"selector": dict(islice((spec.get("selector") or {}).items(), MOST)), "ports": ports}}


def config_map(obj: Object) -> Object:
    """Keep what the servers are told to copy, and whether the ConfigMap is intact.

    A text that is too long is cut, and told apart from any of ours all the same.
    """
    data = obj.get("data") or {}
    # Applied again, it says the same.
    whole = bool(obj[INTACT]) if INTACT in obj else intact(obj)
    return _bare(obj) | {INTACT: whole, "data": {FILE: data[FILE][: 4 * MAX_TEXT]} if FILE in data else {}}


def job(obj: Object) -> Object:
    """Keep a Job's conditions: whether it has ended, and how."""
    return _bare(obj) | {"status": {"conditions": conditions((obj.get("status") or {}).get("conditions"))}}


def route(obj: Object) -> Object:
    """Keep where a route leads, and what the gateways say of it."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    rules = [_rule(rule) for rule in (spec.get("rules") or [])[:MOST]]
    parents = [_parent(parent) for parent in (status.get("parents") or [])[:MOST]]
    return _bare(obj) | {"spec": {"rules": rules}, "status": {"parents": parents}}


def bare(obj: Object) -> Object:
    """Keep the presence alone of a budget or an autoscaler."""
    return _bare(obj)


def _bare(obj: Object) -> Object:
    return pick(slim(obj), "apiVersion", "kind", "metadata")


def _rule(rule: Mapping[str, Any]) -> Object:
    return {"backendRefs": [pick(backend, "name", "weight") for backend in (rule.get("backendRefs") or [])[:MOST]]}


def _parent(parent: Mapping[str, Any]) -> Object:
    about = pick(parent.get("parentRef"), "name", "namespace", "kind", "group", "sectionName", "port")
    return pick(parent, "controllerName") | {
        "parentRef": about,
        "conditions": conditions(parent.get("conditions"), "observedGeneration"),
    }
