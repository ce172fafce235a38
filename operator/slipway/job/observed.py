"""What a pod tells: its place in the gang, what keeps it from running, what ended it. Read by plans and policies."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from slipway.api.common import Reason
from slipway.job import labels
from slipway.runtime.conditions import parse_time

# The scheduler's and the kubelet's words -> ours. The server's message goes along.
_WAITING = {
    "ErrImagePull": Reason.IMAGE_PULL_ERROR,
    "ImagePullBackOff": Reason.IMAGE_PULL_ERROR,
    "InvalidImageName": Reason.IMAGE_PULL_ERROR,
    "ErrImageNeverPull": Reason.IMAGE_PULL_ERROR,
    "ImageInspectError": Reason.IMAGE_PULL_ERROR,
    "RegistryUnavailable": Reason.IMAGE_PULL_ERROR,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.CONTAINER_CONFIG_ERROR,
    "RunContainerError": Reason.CONTAINER_CONFIG_ERROR,
}
_POD_REASONS = {"Evicted": Reason.EVICTED, "NodeLost": Reason.NODE_LOST, "Preempting": Reason.PREEMPTED}


# Characters: more than a kubelet lets all containers of a pod say. Whoever may write a pod's status may write more.
LONGEST_MESSAGE = 16384


@dataclass(frozen=True)
class Failure:
    """Why a pod failed, for policies to judge and for people to read."""

    pod: str
    node: str
    container: str
    exit_code: int | None
    signal: str
    reason: str
    message: str
    time: datetime
    pod_conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Obstacle:
    """Why a pod is not running yet. `again`: only a pause before the next try, whose cause was told before."""

    pod: str
    reason: Reason
    message: str
    again: bool = False


@dataclass(frozen=True)
class PodState:
    """One pod of a gang."""

    name: str
    uid: str
    index: int
    attempt: int
    phase: str
    node: str
    ready: bool
    # When its grace period ends, for a pod that is being deleted.
    deletion_time: datetime | None
    obstacle: Obstacle | None
    failure: Failure | None
    termination_message: str

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked for its deletion."""
        return self.deletion_time is not None

    @property
    def ended(self) -> bool:
        """Whether its containers have ended for good."""
        return self.phase in {"Succeeded", "Failed"}


def observe_pod(pod: Mapping[str, Any], now: datetime) -> PodState:
    """Read a pod as the API server gave it. `now` stands in for times that the pod does not carry."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    marks = metadata.get("labels") or {}
    deletion = metadata.get("deletionTimestamp")
    phase = status.get("phase") or "Pending"
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        index=_number(marks.get(labels.REPLICA_INDEX)),
        attempt=_number(marks.get(labels.ATTEMPT)),
        phase=phase,
        node=(pod.get("spec") or {}).get("nodeName") or "",
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        deletion_time=parse_time(deletion) if deletion else None,
        obstacle=_obstacle(metadata["name"], status, conditions) if phase == "Pending" else None,
        failure=_failure(pod, conditions, now),
        termination_message=_termination_message(status),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0


def _obstacle(name: str, status: Mapping[str, Any], conditions: Mapping[str, Any]) -> Obstacle | None:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return Obstacle(name, Reason.UNSCHEDULABLE, scheduled.get("message") or "no node can take the pod")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "SchedulingGated":
        return Obstacle(name, Reason.QUEUED, scheduled.get("message") or "another controller has not let it in yet")
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = _WAITING.get(waiting.get("reason") or "")
        if reason is not None:
            words = waiting.get("message") or "no further words from the kubelet"
            again = waiting["reason"] == "ImagePullBackOff"
            return Obstacle(name, reason, f"{waiting['reason']}: {words}", again)
    return None


def _failure(pod: Mapping[str, Any], conditions: Mapping[str, Any], now: datetime) -> Failure | None:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    true_conditions = tuple(sorted(kind for kind, c in conditions.items() if c.get("status") == "True"))
    node = (pod.get("spec") or {}).get("nodeName") or ""
    deleted = metadata.get("deletionTimestamp")
    if status.get("phase") == "Failed":
        failure = _ended_badly(metadata["name"], node, status, true_conditions, _disruption(conditions), now)
        return _told_to_go(failure, status, conditions, _deleted_at(metadata, now)) if deleted else failure
    if deleted and status.get("phase") != "Succeeded":
        reason, message = _why_deleted(status, conditions)
        return Failure(
            metadata["name"], node, "", None, "", reason, message, _deleted_at(metadata, now), true_conditions
        )
    return None


def _ended_badly(
    name: str,
    node: str,
    status: Mapping[str, Any],
    conditions: tuple[str, ...],
    disrupted: tuple[str, str] | None,
    now: datetime,
) -> Failure:
    why = _POD_REASONS.get(status.get("reason") or "") or (disrupted[0] if disrupted else None)
    words = status.get("message") or (disrupted[1] if disrupted else "")
    containers = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    for container in containers:
        ended = (container.get("state") or {}).get("terminated") or {}
        if not ended or ended.get("exitCode") == 0:
            continue
        code = int(ended["exitCode"])
        finished = ended.get("finishedAt")
        return Failure(
            pod=name,
            node=node,
            container=container.get("name") or "",
            exit_code=code,
            signal=_signal_name(ended.get("signal") or (code - 128 if 128 < code <= 192 else 0)),
            reason=why or ended.get("reason") or Reason.ERROR,
            message=(ended.get("message") or words)[-LONGEST_MESSAGE:].strip(),
            time=parse_time(finished) if finished else now,
            pod_conditions=conditions,
        )
    reason = why or status.get("reason") or Reason.ERROR
    words = words or "the pod failed without a container's exit code"
    return Failure(name, node, "", None, "", reason, words, now, conditions)


def _told_to_go(failure: Failure, status: Mapping[str, Any], conditions: Mapping[str, Any], asked: datetime) -> Failure:
    """Containers that end after somebody asked for their pod's deletion end because of it, by whatever exit code."""
    # No kubelet kills a container in the second in which it asked it to end.
    killed = failure.signal == "SIGKILL" and failure.time <= asked
    if failure.reason != Reason.ERROR or failure.time < asked or killed:
        return failure
    reason, message = _why_deleted(status, conditions)
    return replace(failure, reason=reason, message=message, time=asked)


def _why_deleted(status: Mapping[str, Any], conditions: Mapping[str, Any]) -> tuple[str, str]:
    disrupted = _disruption(conditions)
    if disrupted is not None and disrupted[0] == Reason.PREEMPTED:
        return disrupted
    # A live kubelet reports the end of containers; one still running in a pod not ready: none reports.
    silent = any((c.get("state") or {}).get("running") for c in status.get("containerStatuses") or [])
    if silent and (conditions.get("Ready") or {}).get("status") != "True":
        return Reason.NODE_LOST, "the pod's node does not answer any more"
    return disrupted or (Reason.POD_DELETED, "the pod was deleted by somebody else")


def _disruption(conditions: Mapping[str, Any]) -> tuple[str, str] | None:
    """What Kubernetes 1.26 and later say before they delete a pod on their own account."""
    target = conditions.get("DisruptionTarget") or {}
    if target.get("status") != "True":
        return None
    reason = Reason.PREEMPTED if target.get("reason") == "PreemptionByScheduler" else Reason.EVICTED
    return reason, target.get("message") or "the pod was disrupted"


def _deleted_at(metadata: Mapping[str, Any], now: datetime) -> datetime:
    """When the deletion was asked for: the timestamp is the end of the grace period."""
    asked = parse_time(metadata["deletionTimestamp"]) - timedelta(
        seconds=metadata.get("deletionGracePeriodSeconds") or 0
    )
    return min(now, asked)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name if number else ""
    except ValueError:
        return f"SIG{number}"


def _termination_message(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or []:
        message = ((container.get("state") or {}).get("terminated") or {}).get("message")
        if message:
            return str(message)[:LONGEST_MESSAGE]
    return ""
