"""A canary's share by a gateway: an HTTPRoute with weights, and a Service for each of the two revisions. Pure.

Called by plan.py, where spec.rollout.gateway is set and the cluster serves the Gateway API. Without a canary the route
leads to the one Service, as everybody else's requests do. While there is one, it leads to the serving revision's
Service and the canary's, with the step's share as weights: exactly, whatever the numbers of pods are.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slipway.api.common import Reason
from slipway.api.rollout import Gateway
from slipway.api.servicestatus import CanaryPhase
from slipway.inferenceservice import manifests, mirror
from slipway.inferenceservice.scene import Object, Scene
from slipway.inferenceservice.service import REVISION
from slipway.job.plan import Delete, Write
from slipway.runtime import conditions
from slipway.runtime.resource import SERVICES, Resource, uid_of

PORT = 80
MISSING = (
    "the cluster serves no HTTPRoute of gateway.networking.k8s.io: install the Gateway API's CRDs and a gateway, then"
    " restart the operator; until then pods behind the one Service give the shares"
)


def split(scene: Scene) -> Mapping[str, int] | None:
    """Weights by revision as the draft's canary stands; None where the route leads to the one Service."""
    entry = (scene.draft.wire.get("canaryStatuses") or [{}])[0]
    stable, current, plan = entry.get("stable"), scene.current, scene.service.spec.rollout.canary_plan
    if plan is None or entry.get("name") != scene.newest or not any(r.revision == stable for r in scene.older):
        return None
    phase, steps = CanaryPhase(entry["phase"]), plan.steps
    percent = 0
    if phase is CanaryPhase.ROLLED_BACK and current is None:
        return None
    if phase is CanaryPhase.PROMOTED:
        if current is None or current.serves(scene.size.replicas):
            return None
        percent = entry["trafficPercent"]
    elif phase is CanaryPhase.ANALYSING:
        percent = 0 if entry["mirror"] else entry["trafficPercent"]
    elif phase is CanaryPhase.STARTING and 0 < entry["step"] <= len(steps):
        # The next step's pods are starting: until they serve, its share would be more than they can take.
        before = steps[entry["step"] - 1]
        percent = 0 if before.mirror else before.traffic_percent
    return {stable: 100 - percent, scene.newest: percent}


def route(scene: Scene, routes: Resource, gateway: Gateway) -> dict[str, Any]:
    """The HTTPRoute."""
    service, weights = scene.service, split(scene)
    backends: list[dict[str, Any]] = [{"name": service.name, "port": PORT, "weight": 1}]
    if weights is not None:
        backends = [{"name": service.child(r), "port": PORT, "weight": w} for r, w in weights.items()]
    spec: dict[str, Any] = {
        "parentRefs": [parent.wire() for parent in gateway.parent_refs],
        "rules": [{"backendRefs": backends}],
    }
    if gateway.hostnames:
        spec["hostnames"] = list(gateway.hostnames)
    about = manifests.metadata(service, service.name)
    about["annotations"] = {manifests.SPEC_HASH: _hash(spec)}
    return {"apiVersion": routes.api_version, "kind": routes.kind, "metadata": about, "spec": spec}


def _hash(spec: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]


def _known(scene: Scene) -> Object | None:
    routes = scene.platform.routes
    return scene.around.children.get(routes, {}).get(scene.service.name) if routes is not None else None


def writes(scene: Scene) -> list[Write]:
    """The route, and the Services that it needs; a route that says something else is brought up to date."""
    routes, gateway = scene.platform.routes, scene.service.spec.rollout.gateway
    if routes is None or gateway is None:
        return []
    needed = [
        Write(SERVICES, manifests.revision_address(scene.service, revision))
        for revision in split(scene) or ()
        if scene.service.child(revision) not in scene.around.children.get(SERVICES, {})
    ]
    body, known = route(scene, routes, gateway), _known(scene)
    marks = (known or {"metadata": {}})["metadata"].get("annotations") or {}
    if marks.get(manifests.SPEC_HASH) != body["metadata"]["annotations"][manifests.SPEC_HASH]:
        needed.append(Write(routes, body, replace=True))
    return needed


def deletes(scene: Scene) -> list[Delete]:
    """A route that nobody asks for any more, and Services of revisions to which none leads."""
    gone: list[Delete] = []
    known, routes = _known(scene), scene.platform.routes
    if known is not None and routes is not None and not scene.routed:
        gone.append(Delete(routes, scene.service.name, uid_of(known)))
    if lagging(scene):
        return gone
    named = mirror.named(scene) | set(led_to(scene)) | set((split(scene) if scene.routed else None) or ())
    for name, service in scene.around.children.get(SERVICES, {}).items():
        revision = (service["metadata"].get("labels") or {}).get(REVISION)
        if revision and revision not in named and not service["metadata"].get("deletionTimestamp"):
            gone.append(Delete(SERVICES, name, uid_of(service)))
    return gone


def led_to(scene: Scene) -> Mapping[str, int]:
    """Weights by revision as the route that is there has them, or had until every gateway has taken in a new one."""
    known = _known(scene)
    if known is None:
        return {}
    weights = {}
    for rule in known["spec"].get("rules") or []:
        for backend in rule.get("backendRefs") or []:
            child = str(backend["name"])
            if child != scene.service.name:
                weights[child.removeprefix(f"{scene.service.name}-")] = int(backend.get("weight", 1))
    return weights


def lagging(scene: Scene) -> bool:
    """Whether a gateway still goes by an older route than the one that is there."""
    known = _known(scene)
    if known is None:
        return False
    generation = known["metadata"].get("generation") or 0
    return any(int(mark.get("observedGeneration") or 0) < generation for mark in _accepted(known))


def _accepted(known: Object) -> list[Mapping[str, Any]]:
    """What each gateway says of the route."""
    parents = (known.get("status") or {}).get("parents") or []
    found = (conditions.get(parent.get("conditions") or [], "Accepted") for parent in parents)
    return [mark for mark in found if mark is not None]


def may_retire(scene: Scene, revision: str) -> bool:
    """Whether no gateway sends it requests any more: deleted pods are no endpoints at once, and there is no retry."""
    if not scene.routed:
        return True
    wanted, there = split(scene), led_to(scene)
    if wanted is not None and wanted.get(revision):
        return False
    return not there.get(revision) and not lagging(scene)


def tell(scene: Scene) -> None:
    """Condition GatewayReady, and the shares as the gateway gives them."""
    draft = scene.draft
    if scene.service.spec.rollout.gateway is None:
        draft.without("GatewayReady")
        return
    if not scene.routed:
        draft.condition("GatewayReady", "False", Reason.GATEWAY_MISSING, MISSING)
        return
    known = _known(scene)
    marks = _accepted(known) if known is not None else []
    refused = next((mark for mark in marks if mark.get("status") != "True"), None)
    if refused is not None:
        words = f"a gateway does not take the HTTPRoute: {refused.get('reason')}: {refused.get('message') or ''}"
        draft.condition("GatewayReady", "False", Reason.GATEWAY_REFUSED, words)
    elif not marks or lagging(scene):
        words = "no gateway has taken in the HTTPRoute yet: parentRefs must name one that serves this namespace"
        draft.condition("GatewayReady", "Unknown", Reason.GATEWAY_PENDING, words)
    else:
        draft.condition("GatewayReady", "True", Reason.GATEWAY_ACCEPTED, "the gateway has taken in the HTTPRoute")
    weights = split(scene)
    if weights is not None:
        predictor = dict((draft.wire.get("components") or {}).get("predictor") or {})
        predictor["traffic"] = [
            {"revisionName": revision, "percent": weight, "latestRevision": revision == scene.newest}
            for revision, weight in weights.items()
            if weight
        ]
        draft.wire["components"] = {"predictor": predictor}
