"""Routes of a gateway to a service, with weights and a Service for each of two revisions while there is a canary. Pure.

Called by plan.py, where spec.rollout.gateway is set and the cluster serves the Gateway API. Without a canary a route
leads to the one Service, as everybody else's requests do. While there is one, it leads to the serving revision's
Service and the canary's, with the step's share as weights: exactly, whatever the numbers of pods are. The HTTPRoute
and, where `gateway.grpc` asks for it, the GRPCRoute have the same weights on two ports.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.rollout import Gateway, ParentRef
from slipway.api.serving.status import CanaryPhase
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.rollout import mirror
from slipway.inferenceservice.service import GRPC_PORT, REVISION, Platform
from slipway.inferenceservice.state import Object, ServiceState
from slipway.reconcile.plan import Delete, Write
from slipway.runtime import conditions
from slipway.runtime.client.resource import SERVICES, Resource, uid_of

PORT = 80
MISSING = (
    "the cluster serves no {} of gateway.networking.k8s.io: install the Gateway API's CRDs and a gateway, then"
    " restart the operator; until then clients reach the Service inside the cluster, whose pods give a canary its share"
)


@dataclass(frozen=True)
class WantedRoute:
    """One route that the spec asks for: what it is attached to, and to which port of the Services it leads."""

    routes: Resource
    port: int
    parents: Sequence[ParentRef]
    hostnames: Sequence[str]


def _ways(state: ServiceState) -> list[WantedRoute]:
    """Routes that the spec asks for, of the kinds that the cluster serves."""
    gateway, platform = state.service.spec.rollout.gateway, state.platform
    if gateway is None:
        return []
    ways = []
    if platform.routes is not None:
        ways.append(WantedRoute(platform.routes, PORT, gateway.parent_refs, gateway.hostnames))
    if platform.grpc_routes is not None and (grpc := gateway.grpc) is not None:
        ways.append(
            WantedRoute(platform.grpc_routes, GRPC_PORT, grpc.parent_refs or gateway.parent_refs, grpc.hostnames)
        )
    return ways


def split(state: ServiceState) -> Mapping[str, int] | None:
    """Weights by revision as the draft's canary stands; None where routes lead to the one Service."""
    entry = (state.draft.fields.get("canaryStatuses") or [{}])[0]
    stable, current, plan = entry.get("stable"), state.current, state.service.spec.rollout.canary_plan
    if plan is None or entry.get("name") != state.newest or not any(r.revision == stable for r in state.older):
        return None
    phase, steps = CanaryPhase(entry["phase"]), plan.steps
    percent = 0
    if phase is CanaryPhase.ROLLED_BACK and current is None:
        return None
    if phase is CanaryPhase.PROMOTED:
        if current is None or current.serves(state.size.replicas):
            return None
        percent = entry["trafficPercent"]
    elif phase is CanaryPhase.ANALYSING:
        percent = 0 if entry["mirror"] else entry["trafficPercent"]
    elif phase is CanaryPhase.STARTING and 0 < entry["step"] <= len(steps):
        # The next step's pods are starting: until they serve, its share would be more than they can take.
        before = steps[entry["step"] - 1]
        percent = 0 if before.mirror else before.traffic_percent
    return {stable: 100 - percent, state.newest: percent}


def route(state: ServiceState, way: WantedRoute) -> dict[str, Any]:
    """The HTTPRoute or GRPCRoute: they differ in nothing that is said here."""
    service, weights = state.service, split(state)
    backends: list[dict[str, Any]] = [{"name": service.name, "port": way.port, "weight": 1}]
    if weights is not None:
        backends = [{"name": service.child(r), "port": way.port, "weight": w} for r, w in weights.items()]
    spec: dict[str, Any] = {
        "parentRefs": [parent.wire() for parent in way.parents],
        "rules": [{"backendRefs": backends}],
    }
    if way.hostnames:
        spec["hostnames"] = list(way.hostnames)
    about = manifests.metadata(service, service.name)
    about["annotations"] = {manifests.SPEC_HASH: _hash(spec)}
    return {"apiVersion": way.routes.api_version, "kind": way.routes.kind, "metadata": about, "spec": spec}


def _hash(spec: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]


def _there(state: ServiceState) -> dict[Resource, Object]:
    """The routes that are there, asked for or not."""
    name, found = state.service.name, {}
    for resource in (state.platform.routes, state.platform.grpc_routes):
        known = state.observed.children.get(resource, {}).get(name) if resource is not None else None
        if resource is not None and known is not None:
            found[resource] = known
    return found


def writes(state: ServiceState) -> list[Write]:
    """The routes, and the Services that they need; a route that says something else is brought up to date."""
    ways, there = _ways(state), _there(state)
    if not state.routed:
        return []
    needed = [
        Write(SERVICES, manifests.revision_address(state.service, revision))
        for revision in split(state) or ()
        if state.service.child(revision) not in state.observed.children.get(SERVICES, {})
    ]
    for way in ways:
        body, known = route(state, way), there.get(way.routes)
        marks = (known or {"metadata": {}})["metadata"].get("annotations") or {}
        if marks.get(manifests.SPEC_HASH) != body["metadata"]["annotations"][manifests.SPEC_HASH]:
            needed.append(Write(way.routes, body, replace=True))
    return needed


def deletes(state: ServiceState) -> list[Delete]:
    """A route that nobody asks for any more, and Services of revisions to which none leads."""
    asked = {way.routes for way in _ways(state)}
    gone = [
        Delete(resource, state.service.name, uid_of(known))
        for resource, known in _there(state).items()
        if resource not in asked
    ]
    if lagging(state):
        return gone
    named = mirror.named(state) | set(led_to(state)) | set((split(state) if state.routed else None) or ())
    for name, service in state.observed.children.get(SERVICES, {}).items():
        revision = (service["metadata"].get("labels") or {}).get(REVISION)
        if revision and revision not in named and not service["metadata"].get("deletionTimestamp"):
            gone.append(Delete(SERVICES, name, uid_of(service)))
    return gone


def led_to(state: ServiceState) -> Mapping[str, int]:
    """Weights by revision as the routes that are there have them, or had until every gateway has taken in new ones."""
    weights: dict[str, int] = {}
    for known in _there(state).values():
        for rule in known["spec"].get("rules") or []:
            for backend in rule.get("backendRefs") or []:
                child = str(backend["name"])
                if child != state.service.name:
                    revision = child.removeprefix(f"{state.service.name}-")
                    weights[revision] = max(weights.get(revision, 0), int(backend.get("weight", 1)))
    return weights


def lagging(state: ServiceState) -> bool:
    """Tell whether a gateway still goes by an older route than the one that is there."""
    return any(_lags(known) for known in _there(state).values())


def _lags(known: Object) -> bool:
    generation = known["metadata"].get("generation") or 0
    return any(int(mark.get("observedGeneration") or 0) < generation for mark in _accepted(known))


def _accepted(known: Object) -> list[Mapping[str, Any]]:
    """Condition Accepted of the route, by each gateway that tells one."""
    parents = (known.get("status") or {}).get("parents") or []
    found = (conditions.get(parent.get("conditions") or [], "Accepted") for parent in parents)
    return [mark for mark in found if mark is not None]


def may_retire(state: ServiceState, revision: str) -> bool:
    """Tell whether no gateway sends the revision requests any more.

    Deleted pods are no endpoints at once, and there is no retry.
    """
    if not state.routed:
        return True
    wanted, there = split(state), led_to(state)
    if wanted is not None and wanted.get(revision):
        return False
    return not there.get(revision) and not lagging(state)


def _missing(gateway: Gateway, platform: Platform) -> str:
    """Kind of route that is asked for and that the cluster does not serve; empty for none."""
    if platform.routes is None:
        return "HTTPRoute"
    return "GRPCRoute" if gateway.grpc is not None and platform.grpc_routes is None else ""


def tell(state: ServiceState) -> None:
    """Condition GatewayReady, and the shares as the gateway gives them."""
    draft, gateway = state.draft, state.service.spec.rollout.gateway
    if gateway is None:
        draft.without("GatewayReady")
        return
    if missing := _missing(gateway, state.platform):
        draft.condition("GatewayReady", "False", Reason.GATEWAY_MISSING, MISSING.format(missing))
    else:
        draft.condition("GatewayReady", *_taken_in(state))
    weights = split(state) if state.routed else None
    if weights is not None:
        predictor = dict((draft.fields.get("components") or {}).get("predictor") or {})
        predictor["traffic"] = [
            {"revisionName": revision, "percent": weight, "latestRevision": revision == state.newest}
            for revision, weight in weights.items()
            if weight
        ]
        draft.fields["components"] = {"predictor": predictor}


def _taken_in(state: ServiceState) -> tuple[str, Reason, str]:
    """Condition GatewayReady (status, reason, words): the worst that gateways say of the routes that are asked for."""
    there = _there(state)
    asked = [(way.routes.kind, there.get(way.routes)) for way in _ways(state)]
    for kind, known in asked:
        refused = next((mark for mark in _accepted(known) if mark.get("status") != "True"), None) if known else None
        if refused is not None:
            words = f"a gateway does not take the {kind}: {refused.get('reason')}: {refused.get('message') or ''}"
            return "False", Reason.GATEWAY_REFUSED, words
    for kind, known in asked:
        if known is None or not _accepted(known) or _lags(known):
            words = f"no gateway has taken in the {kind} yet: parentRefs must name one that serves this namespace"
            return "Unknown", Reason.GATEWAY_PENDING, words
    kinds = " and the ".join(kind for kind, _ in asked)
    return "True", Reason.GATEWAY_ACCEPTED, f"the gateway has taken in the {kinds}"
