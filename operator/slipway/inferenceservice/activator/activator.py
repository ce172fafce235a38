"""Activator of a service, which stands in for its pods while it has none, and target of its Service. Pure.

The activator is two small pods in the service's own namespace: it needs no right and no address elsewhere, and is in
the path of requests only while no pod is ready. Clients know the Service alone, whose selector changes between its
pods and the activator. The activator reaches ready pods by another Service, which selects nothing else.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slipway.api.common.pod import PodPlace
from slipway.api.common.types import GROUP, Reason
from slipway.api.serving.inferenceservice import spec_problems
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.language import adapted
from slipway.inferenceservice.observed import ready_pods
from slipway.inferenceservice.policy.zero import stands_in
from slipway.inferenceservice.rollout import mirror
from slipway.inferenceservice.service import (
    DEPLOYMENTS,
    GRPC_PORT,
    HTTP_PORT,
    KIND,
    InferenceService,
    Platform,
    identify,
)
from slipway.inferenceservice.source import resolve
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile import labels
from slipway.reconcile.plan import Delete, Patch, Write
from slipway.reconcile.podspec import SCRATCH_DIR, pod_spec, restrict
from slipway.runtime.client.resource import SERVICES, Resource, name_of, uid_of
from slipway.runtime.conditions import parse_time

Object = Mapping[str, Any]

# On the activator's pods, with the service's UID: nothing that selects the service's own pods may find them.
ACTIVATOR = f"{GROUP}/activator"
CONTROL_PORT = 8081
# One goes with its node, the other one holds on.
PODS = 2
# It takes clients for so long after its readiness has ended; those whom it has led to a pod have so long to end.
LEAD_SECONDS = 5
DRAIN_SECONDS = 30
# Of the service's pod settings.
IDENTITY = ("image_pull_secrets", "service_account_name", "run_as_user", "run_as_group", "run_as_non_root")
RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}
# It writes nothing there; what the interpreter may.
SCRATCH = {"name": "slipway-tmp", "emptyDir": {"sizeLimit": "64Mi"}}


def activator_name(service_name: str) -> str:
    """Name of the activator's Deployment, and of its PodDisruptionBudget."""
    return f"{service_name}-activator"


def inner_name(service_name: str) -> str:
    """Name of the Service that leads to ready pods and to nobody else; KServe calls it so, too."""
    return f"{service_name}-predictor"


def activator_pods(uid: str) -> dict[str, str]:
    """Label selector of the activator's pods, by the service's UID."""
    return {ACTIVATOR: uid}


def inner_address(service: InferenceService) -> dict[str, Any]:
    """Service to the pods alone: it refuses connections while none is ready, which is how the activator knows."""
    address = manifests.address(service)
    return {**address, "metadata": {**address["metadata"], "name": inner_name(service.name)}}


def activator(service: InferenceService, platform: Platform) -> dict[str, Any]:
    """Deployment of the activator, which waits for a pod as long as a pod may take to start."""
    marks = {labels.MANAGED: "true", labels.MANAGED_BY: "slipway", labels.KIND: KIND, labels.JOB_NAME: service.name}
    selects = activator_pods(service.uid)
    spec = {
        "replicas": PODS,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": selects},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": {**marks, **selects}}, "spec": _pod(service, platform)},
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": activator_name(service.name),
            "namespace": service.namespace,
            "labels": dict(service.labels),
            "annotations": {manifests.SPEC_HASH: digest},
            "ownerReferences": [service.owner],
        },
        "spec": spec,
    }


def budget(service: InferenceService, budgets: Resource) -> dict[str, Any]:
    """PodDisruptionBudget of the activator: drains of nodes leave one of its two pods.

    Who is held while both leave has nobody to be led by.
    """
    return {
        "apiVersion": budgets.api_version,
        "kind": budgets.kind,
        "metadata": manifests.metadata(service, activator_name(service.name)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": activator_pods(service.uid)}},
    }


def _pod(service: InferenceService, platform: Platform) -> dict[str, Any]:
    settings = service.spec.predictor.pod
    # Who is held is waited for; nobody is, most of the time, and then it leaves at once.
    patience = LEAD_SECONDS + service.spec.predictor.startup_seconds + DRAIN_SECONDS
    # Where the image comes from, and who it runs as. Its node needs no GPU, and so none of the pods' tolerations.
    kept = {field: getattr(settings, field) for field in IDENTITY}
    spread = manifests.apart(activator_pods(service.uid))
    seconds = patience + manifests.CLOSING_SECONDS
    own = {"terminationGracePeriodSeconds": seconds, "topologySpreadConstraints": spread}
    return pod_spec(PodPlace(**kept), _container(service, platform), [SCRATCH], **own)


def _container(service: InferenceService, platform: Platform) -> dict[str, Any]:
    backend = f"{inner_name(service.name)}.{service.namespace}.svc"
    command = ["python", "-m", "workloads", "activate", "--backend", backend]
    options = {"hold": service.spec.predictor.startup_seconds, "lead": LEAD_SECONDS, "drain": DRAIN_SECONDS}
    ports = {"http": HTTP_PORT, "grpc": GRPC_PORT, "control": CONTROL_PORT}
    return {
        "name": "activator",
        "image": service.spec.predictor.image or platform.server_image,
        **service.spec.predictor.pod.pulled(),
        "command": command + [word for name, value in options.items() for word in (f"--{name}", str(value))],
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "resources": RESOURCES,
        "volumeMounts": [{"name": SCRATCH["name"], "mountPath": SCRATCH_DIR}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "control"},
            "periodSeconds": 1,
            "failureThreshold": 1,
            "timeoutSeconds": 5,
        },
        "livenessProbe": {
            "httpGet": {"path": "/metrics", "port": "control"},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 10,
        },
        "securityContext": restrict(),
    }


def decided_at(service: Object) -> float | None:
    """Time at which it was decided that the service sleeps, in seconds of the wall clock.

    None while it shall have pods, and where it must not sleep.
    """
    spec, said = service.get("spec") or {}, (service.get("status") or {}).get("autoScaling") or {}
    may_sleep = (spec.get("autoScaling") or {}).get("minReplicas") == 0 and spec.get("replicas") != 0
    if not may_sleep or said.get("desired") != 0 or "lastScaleTime" not in said:
        return None
    return parse_time(said["lastScaleTime"]).timestamp()


def unsettled(service: Object, source: Object | None) -> str:
    """Reason for a replica to stay, in words; empty where the newest revision is the one that serves.

    A revision that nobody has seen serve must not be met first by a request that waits; one that was rolled back would
    come again as the newest, were there nothing beside it.
    """
    spec, _ = spec_problems(name_of(service), service.get("spec") or {})
    if spec is None:
        return "the spec makes no sense"
    status, identity = service.get("status") or {}, identify(service, spec)
    pinned = resolve(identity, status, source).pinned
    if pinned is None:
        return "the model is waited for"
    rolled_out = ((status.get("components") or {}).get("predictor") or {}).get("latestRolledoutRevision")
    # As they were pinned: others are another revision, which has not taken over.
    newest = adapted(identity, pinned, status, {}).service.revision(pinned)
    return "" if rolled_out == newest else f"revision {newest} has not taken over"


def is_ready(deployment: Object | None) -> bool:
    """Tell whether one of the activator's pods would take a client."""
    return deployment is not None and bool((deployment.get("status") or {}).get("readyReplicas"))


def in_place(address: Object | None, uid: str) -> bool:
    """Tell whether the Service leads to the activator."""
    return address is not None and _selector(address) == activator_pods(uid)


def _selector(address: Object) -> dict[str, str]:
    return dict((address.get("spec") or {}).get("selector") or {})


def tell(state: ServiceState) -> None:
    """Write condition ActivatorReady: False while a service that may sleep stays awake for its activator's sake."""
    if not state.size.may_sleep or state.observed.activator_state.ready:
        state.draft.without("ActivatorReady")
        return
    refused: dict[str, Any] = next(
        (c for c in _conditions(state.observed.activator) if c.get("type") == "ReplicaFailure"), {}
    )
    reason = Reason.CREATE_REFUSED if refused else Reason.PENDING
    message = refused.get("message") or f"no pod of Deployment {activator_name(state.service.name)} is ready"
    state.draft.condition("ActivatorReady", "False", reason, f"{message}; until one is, a replica stays")


def _conditions(deployment: Object | None) -> list[Any]:
    return list(((deployment or {}).get("status") or {}).get("conditions") or [])


def writes(state: ServiceState) -> list[Write]:
    """The activator, its way to the pods and its budget, where the spec asks for them and they are not there."""
    service, there, budgets = state.service, state.observed.children, state.platform.budgets
    if not state.size.may_sleep:
        return []
    made = []
    if budgets is not None and activator_name(service.name) not in there.get(budgets, {}):
        made.append(Write(budgets, budget(service, budgets)))
    if inner_name(service.name) not in there.get(SERVICES, {}):
        made.append(Write(SERVICES, inner_address(service)))
    body, known, mark = activator(service, state.platform), state.observed.activator, manifests.SPEC_HASH
    digest = (known["metadata"].get("annotations") or {}).get(mark) if known is not None else None
    if digest != body["metadata"]["annotations"][mark]:
        made.append(Write(DEPLOYMENTS, body, replace=True))
    return made


def patches(state: ServiceState) -> list[Patch]:
    """Patch of the Service's selector, where it shall lead elsewhere from now on."""
    service = state.service
    address = state.observed.children.get(SERVICES, {}).get(service.name)
    if address is None or (state.observed.activator is None and not in_place(address, service.uid)):
        return []
    size, serving = state.size, bool(ready_pods(state.observed.pods))
    wanted = size.replicas > 0
    asks = {"may_sleep": size.may_sleep, "sleeping": size.sleeping, "wanted": wanted, "serving": serving}
    selects = (
        activator_pods(service.uid) if stands_in(state.observed.activator_state, **asks) else mirror.selector(state)
    )
    known = _selector(address)
    if known == selects:
        return []
    selector: dict[str, str | None] = dict.fromkeys(known)
    return [Patch(SERVICES, service.name, uid_of(address), {"spec": {"selector": selector | selects}})]


def deletes(state: ServiceState) -> list[Delete]:
    """Deletes of all that `writes` made, where the spec does not ask for it any more and nobody is led to it."""
    if state.size.may_sleep or state.observed.activator_state.in_place:
        return []
    name, inner, there = activator_name(state.service.name), inner_name(state.service.name), state.observed.children
    gone: list[tuple[Resource, Object | None, str]] = [
        (DEPLOYMENTS, state.observed.activator, name),
        (SERVICES, there.get(SERVICES, {}).get(inner), inner),
    ]
    if (budgets := state.platform.budgets) is not None:
        gone.append((budgets, there.get(budgets, {}).get(name), name))
    return [
        Delete(resource, called, uid_of(known))
        for resource, known, called in gone
        if known is not None and not known["metadata"].get("deletionTimestamp")
    ]
