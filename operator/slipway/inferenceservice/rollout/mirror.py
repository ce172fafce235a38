"""A canary that gets copies of requests only: who copies for whom, and that nobody else is led to it. Pure.

Called by plan.py. The servers of the revision that serves copy: a file in their ConfigMap says where to, which they
read again and again, so that no pod starts anew. Until the canary has passed, the Services lead to the other
revision's pods alone. Both is taken back with the step.
"""

import json
from collections.abc import Mapping
from typing import Any

from slipway.api.serving.status import CanaryPhase
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.children.ports import ports
from slipway.inferenceservice.service import HTTPS, REVISION
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile import labels
from slipway.reconcile.plan import Patch, Write
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES, uid_of

FILE = "mirror.json"


def _entry(state: ServiceState) -> Mapping[str, Any]:
    """The canary as the draft has it, while it must get copies at most; empty otherwise."""
    entry: Mapping[str, Any] = (state.draft.fields.get("canaryStatuses") or [{}])[0]
    if not entry.get("mirror") or entry.get("name") != state.newest or entry["phase"] == CanaryPhase.PROMOTED:
        return {}
    if not any(revision.revision == entry["stable"] for revision in state.older):
        return {}
    # Rolled back, its pods are still there for a moment.
    return {} if entry["phase"] == CanaryPhase.ROLLED_BACK and state.current is None else entry


def selector(state: ServiceState) -> dict[str, str]:
    """The pods that requests may be led to."""
    entry = _entry(state)
    return manifests.pods_of(state.service, entry["stable"]) if entry else manifests.selector(state.service)


def named(state: ServiceState) -> set[str]:
    """The revision that has a Service of its own, to be copied to."""
    entry = _entry(state)
    return {str(entry["name"])} if entry else set()


def writes(state: ServiceState) -> list[Write]:
    """Write of the canary's own Service, where it is not there."""
    there = state.observed.children.get(SERVICES, {})
    return [
        Write(SERVICES, manifests.revision_address(state.service, revision))
        for revision in named(state)
        if state.service.child(revision) not in there
    ]


def patches(state: ServiceState) -> list[Patch]:
    """Patches of the Services' selectors and ports, and of what the servers are told to copy."""
    return [*_led(state), *_opened(state), *_told(state)]


def _opened(state: ServiceState) -> list[Patch]:
    """The port for TLS, on Services that were made without it."""
    wanted, changes = ports(state.service), []
    for name, address in state.observed.children.get(SERVICES, {}).items():
        spec = address.get("spec") or {}
        known = {port.get("port") for port in spec.get("ports") or ()}
        ours = labels.JOB_UID in (address["metadata"].get("labels") or {})
        if ours and known and not {port["port"] for port in wanted} <= known:
            changes.append(Patch(SERVICES, name, uid_of(address), {"spec": {"ports": wanted}}))
    return changes


def _led(state: ServiceState) -> list[Patch]:
    """Patches of the Services' selectors.

    Not of the one that an activator may have to take over, which asks `selector`, nor of one of a single revision.
    """
    wanted, changes = selector(state), []
    for name, address in state.observed.children.get(SERVICES, {}).items():
        if name == state.service.name and state.observed.activator is not None:
            continue
        marks = address["metadata"].get("labels") or {}
        known = dict((address.get("spec") or {}).get("selector") or {})
        if REVISION in marks or labels.JOB_UID not in known or known == wanted:
            continue
        body = {"spec": {"selector": dict.fromkeys(known) | wanted}}
        changes.append(Patch(SERVICES, name, uid_of(address), body))
    return changes


def _told(state: ServiceState) -> list[Patch]:
    service, entry, changes = state.service, _entry(state), []
    copier, text = "", None
    if entry and entry["phase"] == CanaryPhase.ANALYSING:
        copier = service.child(entry["stable"])
        scheme = "http:{}:80" if service.spec.predictor.tls is None else f"https:{{}}:{HTTPS}"
        url = scheme.format(f"//{service.child(entry['name'])}.{service.namespace}.svc")
        told = {"url": url, "percent": entry["trafficPercent"]}
        plan = service.spec.rollout.canary_plan
        if plan is not None and plan.gate.max_logprob_drift is not None:
            told["scores"] = True
        if service.spec.predictor.auth is not None:
            told["keys"] = True
        text = json.dumps(told, sort_keys=True)
    for name, known in state.observed.children.get(CONFIGMAPS, {}).items():
        wanted = text if name == copier else None
        if (known.get("data") or {}).get(FILE) != wanted:
            changes.append(Patch(CONFIGMAPS, name, uid_of(known), {"data": {FILE: wanted}}))
    return changes


def tell(state: ServiceState) -> None:
    """Write in the status that all the traffic is the other revision's, while the canary gets copies at most."""
    entry = _entry(state)
    if not entry:
        return
    predictor = dict((state.draft.fields.get("components") or {}).get("predictor") or {})
    predictor["traffic"] = [{"revisionName": entry["stable"], "percent": 100, "latestRevision": False}]
    state.draft.fields["components"] = {"predictor": predictor}
