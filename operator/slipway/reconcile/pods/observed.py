"""Observed pod: its place in the gang, what keeps it from running, what ended it. Read by plans and policies."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from slipway.api.common.types import Reason
from slipway.reconcile import labels
from slipway.reconcile.pods import disruptions, main_container
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
# A field of metadata that orphans.py adds, in a pod that was the job's and is nobody's child any more.
STRAY = "slipway.dev/stray"
# A field of metadata that grace_periods.py adds, and the API server drops: its end by the operator's clock.
GOING_UNTIL = "slipway.dev/goingUntil"
# A field of metadata that startup_events.py adds, and the API server drops: what an event says of a pod that waits.
COMPLAINT = "slipway.dev/complaint"
_COMPLAINTS = {
    "FailedMount": Reason.VOLUME_ERROR,
    "FailedAttachVolume": Reason.VOLUME_ERROR,
    "FailedMapVolume": Reason.VOLUME_ERROR,
    "VolumeResizeFailed": Reason.VOLUME_ERROR,
    "FileSystemResizeFailed": Reason.VOLUME_ERROR,
    "FailedCreatePodSandBox": Reason.POD_SANDBOX_ERROR,
    "FailedCreatePodContainer": Reason.POD_SANDBOX_ERROR,
    "FailedPodSandBoxStatus": Reason.POD_SANDBOX_ERROR,
    "NetworkNotReady": Reason.POD_SANDBOX_ERROR,
    "Unscheduled": Reason.UNSCHEDULABLE,
}
_DISOWNED = "somebody took the pod's ownerReferences away or changed them, by which it left the job"
AS_ROOT = "; set pod.runAsUser to a number, or pod.runAsNonRoot to false where the namespace lets images run as root"
# Characters: more than a kubelet lets all containers of a pod say. Whoever may write a pod's status may write more.
LONGEST_MESSAGE = 16384
# What the launchers' programs end with where the kernel killed one of the processes that they started: the kubelet of a
# container whose first process goes on says Error.
_STARVED = re.compile(r"was killed by SIGKILL \[OOMKilled\]")


@dataclass(frozen=True)
class Failure:
    """Failure of a pod, for policies to judge and for people to read.

    `own`: how the container that the operator made has ended. Another's exit code is told, and judged by no rule.
    `disruption`: it is the cluster's doing, or a person's, and not the program's.
    """

    pod: str
    node: str
    container: str
    exit_code: int | None
    signal: str
    reason: str
    message: str
    time: datetime
    pod_conditions: tuple[str, ...] = ()
    own: bool = True
    disruption: bool = False


@dataclass(frozen=True)
class Obstacle:
    """Obstacle that keeps a pod from running. `again`: only a pause before a new try, whose cause was told before."""

    pod: str
    reason: Reason
    message: str
    again: bool = False


@dataclass(frozen=True)
class PodState:
    """One pod of a gang; all but `left_over` as it would be without the containers that others put into it."""

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
    # Whether other containers go on after the end of its own, and when that was by the node's clock.
    left_over: bool = False
    end_time: datetime | None = None
    # Finalizers, where nothing but them keeps the pod: its grace period is over, or was cut short by force.
    held_by: tuple[str, ...] = ()

    @property
    def deleting(self) -> bool:
        """Tell whether somebody has asked for the pod's deletion."""
        return self.deletion_time is not None

    @property
    def ended(self) -> bool:
        """Tell whether the pod's own container has ended for good."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def may_run(self) -> bool:
        """Tell whether the pod runs, or may still.

        What is to go before it has a node gets none any more, whoever holds it.
        """
        return not self.ended and not (self.deleting and not self.node)


def observe_pod(pod: Mapping[str, Any], now: datetime, container: str = "") -> PodState:
    """Read a pod as the API server gave it. `now` stands in for times that the pod does not carry; `container` is the
    one that the operator made, by which alone the pod is judged, "" for all of them.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    marks = metadata.get("labels") or {}
    deletion = metadata.get("deletionTimestamp") and (metadata.get(GOING_UNTIL) or metadata["deletionTimestamp"])
    phase = main_container.phase_of(status, container)
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        index=_number(marks.get(labels.REPLICA_INDEX)),
        attempt=_number(marks.get(labels.ATTEMPT)),
        phase=phase,
        node=(pod.get("spec") or {}).get("nodeName") or "",
        ready=main_container.ready(status, container, conditions),
        deletion_time=parse_time(deletion) if deletion else None,
        obstacle=(_obstacle(metadata["name"], status, conditions, container) or _complaint(metadata))
        if phase == "Pending"
        else None,
        failure=_failure(pod, phase, conditions, now, container),
        termination_message=main_container.last_words(status, container)[:LONGEST_MESSAGE],
        left_over=main_container.left_over(status, container),
        end_time=main_container.end_time(status, container),
        held_by=_held_by(metadata),
    )


def _held_by(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    gone = metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") == 0
    return tuple(metadata.get("finalizers") or ()) if gone else ()


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0


def _obstacle(name: str, status: Mapping[str, Any], conditions: Mapping[str, Any], container: str) -> Obstacle | None:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return Obstacle(name, Reason.UNSCHEDULABLE, scheduled.get("message") or "no node can take the pod")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "SchedulingGated":
        return Obstacle(name, Reason.QUEUED, scheduled.get("message") or "another controller has not let it in yet")
    for entry in main_container.in_order(status, container):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason = _WAITING.get(waiting.get("reason") or "")
        if reason is not None:
            words = waiting.get("message") or "no further words from the kubelet"
            if "runAsNonRoot" in words or "non-numeric user" in words:
                words += AS_ROOT
            again = waiting["reason"] == "ImagePullBackOff"
            return Obstacle(name, reason, f"{waiting['reason']}: {words}", again)
    return None


def _complaint(metadata: Mapping[str, Any]) -> Obstacle | None:
    """Obstacle that an event tells of, where the pod itself says nothing."""
    words = metadata.get(COMPLAINT)
    if not words:
        return None
    return Obstacle(metadata["name"], complaint_reason(words), words)


def complaint_reason(words: str) -> Reason:
    """Reason that stands for an event, told as `Reason: message`."""
    return _COMPLAINTS.get(words.partition(":")[0], Reason.POD_NOT_STARTED)


def _failure(
    pod: Mapping[str, Any], phase: str, conditions: Mapping[str, Any], now: datetime, container: str
) -> Failure | None:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    node = (pod.get("spec") or {}).get("nodeName") or ""
    asked = _deleted_at(metadata, now) if metadata.get("deletionTimestamp") else None
    if phase == "Failed":
        failure = _ended_badly(metadata["name"], node, status, conditions, now, container)
        return failure if asked is None else _told_to_go(failure, _why_deleted(status, conditions, container), asked)
    if asked is not None and phase != "Succeeded":
        reason, message = _why_deleted(status, conditions, container)
        true = _true(conditions)
        return Failure(metadata["name"], node, "", None, "", reason, message, asked, true, disruption=True)
    if metadata.get(STRAY) and phase != "Succeeded":
        return Failure(metadata["name"], node, "", None, "", Reason.POD_DELETED, _DISOWNED, now, disruption=True)
    return None


def _true(conditions: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(kind for kind, c in conditions.items() if c.get("status") == "True"))


def _ended_badly(
    name: str, node: str, status: Mapping[str, Any], conditions: Mapping[str, Any], now: datetime, container: str
) -> Failure:
    end = main_container.bad_end(status, container)
    cause = disruptions.of_pod(status, conditions) or (disruptions.of_container(end.terminated) if end else None)
    words, disrupted = cause.message if cause else status.get("message") or "", cause is not None and not cause.own
    if end is None:
        reason = cause.reason if cause else status.get("reason") or Reason.ERROR
        words = words or "the pod failed without a container's exit code"
        return Failure(name, node, "", None, "", reason, words, now, _true(conditions), disruption=disrupted)
    code = int(end.terminated["exitCode"])
    return Failure(
        pod=name,
        node=node,
        container=end.container,
        exit_code=code,
        signal=_signal_name(end.terminated.get("signal") or (code - 128 if 128 < code <= 192 else 0)),
        reason=cause.reason if cause else _reason(end, code),
        message=(end.terminated.get("message") or words)[-LONGEST_MESSAGE:].strip(),
        time=main_container.finished_at(end.terminated) or now,
        pod_conditions=_true(conditions),
        own=end.own,
        disruption=disrupted,
    )


def _reason(end: main_container.End, code: int) -> str:
    told = end.terminated.get("reason") or Reason.ERROR
    starved = code == 137 and told == Reason.ERROR and _STARVED.search(end.terminated.get("message") or "")
    return Reason.OOM_KILLED if starved else told


def _told_to_go(failure: Failure, why: tuple[str, str], asked: datetime) -> Failure:
    """Attribute a failure to the deletion of its pod, where that was asked for before.

    Containers that end after somebody asked for their pod's deletion end because of it, by whatever exit code.
    """
    # No kubelet kills a container in the second in which it asked it to end.
    killed = failure.signal == "SIGKILL" and failure.time <= asked
    if failure.reason != Reason.ERROR or failure.time < asked or killed:
        return failure
    return replace(failure, reason=why[0], message=why[1], time=asked, disruption=True)


def _why_deleted(status: Mapping[str, Any], conditions: Mapping[str, Any], container: str) -> tuple[str, str]:
    disrupted = disruptions.of_conditions(conditions)
    if disrupted is not None and disrupted.reason == Reason.PREEMPTED:
        return disrupted[:2]
    if main_container.silent(status, container, conditions):
        return Reason.NODE_LOST, "the pod's node does not answer any more"
    return disrupted[:2] if disrupted else (Reason.POD_DELETED, "the pod was deleted by somebody else")


def _deleted_at(metadata: Mapping[str, Any], now: datetime) -> datetime:
    """Time at which the deletion was asked for: the timestamp is the end of the grace period."""
    asked = parse_time(metadata["deletionTimestamp"]) - timedelta(
        seconds=metadata.get("deletionGracePeriodSeconds") or 0
    )
    return min(now, asked)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name if number else ""
    except ValueError:
        return f"SIG{number}"
