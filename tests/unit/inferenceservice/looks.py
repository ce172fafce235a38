"""One look at a service as the unit tests take it: children of Deployments that are there are there as well."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway.api.serving.inferenceservice import spec_problems
from slipway.inferenceservice.autoscale import Size, size_of
from slipway.inferenceservice.plan import plan
from slipway.inferenceservice.policy.scale import Recommendation
from slipway.inferenceservice.policy.traffic import Window
from slipway.inferenceservice.service import AUTOSCALERS, BUDGETS, DEPLOYMENTS, JOBS, Platform
from slipway.inferenceservice.state import Observed
from slipway.reconcile.plan import Plan
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES, Resource

Object = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLATFORM = Platform("registry.example.com/slipway/server:1", BUDGETS[0], AUTOSCALERS[0])

# Of a language model, which takes no tensors.
LANGUAGE = {
    "engine": {"name": "vllm"},
    "generation": {"maxSequences": 8},
    "adapters": [{"name": "a", "uri": "pvc://adapters/a"}, {"name": "b", "uri": "pvc://models/b"}],
}


def look(
    obj: Object,
    deployments: Iterable[Object] = (),
    pods: Sequence[Object] = (),
    source: Object | None = None,
    *,
    now: datetime = NOW,
    window: Window | None = None,
    history: Sequence[Recommendation] = (),
    scalers: Mapping[str, Object] | None = None,
    jobs: Mapping[str, Object] | None = None,
    platform: Platform = PLATFORM,
    beside: Mapping[Resource, Mapping[str, Object]] | None = None,
    **observed: Any,
) -> Plan:
    """What is decided, with what belongs to the Deployments in place. `beside`: other children, by resource."""
    there = list(deployments)
    name = obj["metadata"]["name"]
    found = {name: {"metadata": {"name": name, "uid": "x"}}} if there else {}
    maps = {d["metadata"]["name"]: {"metadata": {"name": d["metadata"]["name"]}} for d in there}
    children = {SERVICES: found, BUDGETS[0]: found, CONFIGMAPS: maps, AUTOSCALERS[0]: scalers or {}, JOBS: jobs or {}}
    children |= beside or {}
    spec, _ = spec_problems(name, obj["spec"])
    size = size_of(spec, obj.get("status") or {}, pods, window, history, now) if spec else Size(0, None)
    return plan(obj, Observed(there, pods, children, source, window, **observed), size, platform, now)


def deployed(decision: Plan, *, ready: int = 0, uid: str = "d-1") -> Object:
    """The Deployment that a plan asked for, as the server would show it."""
    body = next(write.manifest for write in decision.writes if write.resource is DEPLOYMENTS)
    metadata = {**body["metadata"], "uid": uid, "generation": 1, "creationTimestamp": "2026-11-22T11:00:00Z"}
    status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": ready}
    return {**body, "metadata": metadata, "status": status}
