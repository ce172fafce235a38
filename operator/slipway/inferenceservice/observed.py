"""Observation of a service's revisions, from Deployments and pods. Pure; read by plan.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from slipway.api.common.types import GROUP, Reason
from slipway.inferenceservice.service import ENGINE, REVISION, SERVER
from slipway.reconcile.pods.observed import observe_pod

# What a server's last words begin with, where they have a reason of their own.
TOLD = (Reason.DOES_NOT_FIT, Reason.PROBE_MISMATCH, Reason.ADAPTER_NOT_APPLIED)

# On a Deployment that has one replica more than its revision shall have, while a node is drained.
SURGED = f"{GROUP}/surged"


@dataclass(frozen=True)
class Revision:
    """One Deployment of the service."""

    name: str
    uid: str
    revision: str
    created: str
    wanted: int
    ready: int
    available: bool
    overdue: str
    deleting: bool
    # Whether its pods were started with the engine of its build Job.
    engine: bool = False
    # Whether its Deployment has one replica more than `wanted`.
    surged: bool = False

    def serves(self, replicas: int) -> bool:
        """Tell whether the Deployment was asked for so many replicas and all of them serve."""
        return self.wanted == replicas and self.available


@dataclass(frozen=True)
class Trouble:
    """Obstacle that keeps a revision's pod from serving, or its engine from being built."""

    reason: str
    message: str
    pod: str
    exit_code: int | None = None


def observe_revision(deployment: Mapping[str, Any]) -> Revision:
    """Read a Deployment. `available`: its newest template serves with all replicas asked for."""
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    surged = SURGED in (metadata.get("annotations") or {})
    wanted = max(0, spec.get("replicas", 1) - surged)
    ready = status.get("readyReplicas") or 0
    current = (status.get("observedGeneration") or 0) >= (metadata.get("generation") or 0)
    updated = status.get("updatedReplicas") or 0
    progress: Mapping[str, Any] = next(
        (c for c in status.get("conditions") or [] if c.get("type") == "Progressing"), {}
    )
    late = progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded"
    # The one more may be late, and what serves is not.
    late = late and not (surged and ready >= wanted)
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        revision=(metadata.get("labels") or {}).get(REVISION) or "",
        created=metadata.get("creationTimestamp") or "",
        wanted=wanted,
        ready=ready,
        available=current and ready >= wanted and updated >= wanted,
        overdue=(progress.get("message") or "the Deployment made no progress") if late else "",
        deleting=bool(metadata.get("deletionTimestamp")),
        engine=ENGINE in (spec["template"]["metadata"].get("annotations") or {}),
        surged=surged,
    )


def ready_pods(pods: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Pods that are ready, can be asked and are not being deleted, by UID."""
    found = {}
    for pod in pods:
        marks = (pod.get("status") or {}).get("conditions") or []
        ready = any(mark.get("type") == "Ready" and mark.get("status") == "True" for mark in marks)
        if ready and not pod["metadata"].get("deletionTimestamp") and host_of(pod):
            found[str(pod["metadata"]["uid"])] = pod
    return found


def host_of(pod: Mapping[str, Any]) -> str:
    """Host of a pod, as a URL has it; "" for none, or for what no pod of a service has as its address.

    Whoever may write pods' status could have the operator ask a cloud's metadata server, or a node.
    """
    status = pod.get("status") or {}
    try:
        address = ip_address(status.get("podIP") or "")
    except ValueError:
        return ""
    if address.is_unspecified or address.is_multicast or address.is_link_local or str(address) == status.get("hostIP"):
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


def revision_of(pod: Mapping[str, Any]) -> str:
    """The revision that a pod says it is of."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION) or "")


def trouble_of(
    pods: Iterable[Mapping[str, Any]], revision: str, now: datetime, container: str = SERVER
) -> Trouble | None:
    """The first thing that keeps a pod of this revision from serving, in the server's own words. `container`: the one
    that we made, whose crash counts, and not that of what others put beside it.
    """
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if revision_of(pod) != revision or pod["metadata"].get("deletionTimestamp"):
            continue
        # Only what has not begun is kept from running; of a thousand pods that serve, none is read for it.
        waits = ((pod.get("status") or {}).get("phase") or "Pending") == "Pending"
        obstacle = observe_pod(pod, now, container).obstacle if waits else None
        if obstacle is not None:
            return Trouble(obstacle.reason, obstacle.message, obstacle.pod)
        crash = _crash(pod, container)
        if crash is not None:
            return crash
    return None


def _crash(pod: Mapping[str, Any], container: str) -> Trouble | None:
    for entry in (pod.get("status") or {}).get("containerStatuses") or []:
        if entry.get("name") != container:
            continue
        state, last = entry.get("state") or {}, entry.get("lastState") or {}
        ended = state.get("terminated") or (last.get("terminated") if not entry.get("ready") else None)
        if ended and ended.get("exitCode"):
            message = (ended.get("message") or f"the server ended with exit code {ended['exitCode']}").strip()
            told = next((known for known in TOLD if f"{known}: " in message), Reason.MODEL_LOAD_FAILED)
            reason = Reason.OOM_KILLED if ended.get("reason") == Reason.OOM_KILLED else told
            return Trouble(reason, message, pod["metadata"]["name"], int(ended["exitCode"]))
    return None
