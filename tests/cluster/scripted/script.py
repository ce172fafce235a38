"""What becomes of a pod under the scripted kubelet, and the pod status that says so. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
ANNOTATION = "kubelet.slipway.dev/script"


@dataclass(frozen=True)
class Exit:
    """How a pod's containers end.

    `reason`: the container's, such as OOMKilled; by default Completed or Error. `message`: its termination message.
    `pod_reason`: the pod's own, such as Evicted; `condition`: one more pod condition, such as DisruptionTarget.
    `others`: how containers of these names end instead; by None they go on, and the pod with them.
    """

    code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    pod_reason: str = ""
    condition: str = ""
    others: Mapping[str, Exit | None] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the pod ends as Failed."""
        others = any(other.failed for other in self.others.values() if other is not None)
        return bool(self.code or self.signal or self.pod_reason or others)


@dataclass(frozen=True)
class Script:
    """What the scripted kubelet does with one pod. Times are in seconds.

    `unschedulable`: the scheduler's words; the pod stays Pending. `waiting`: the reason (such as ErrImagePull) why its
    containers never start, `waiting_message` says more. `runs_for` None: until `ScriptedKubelet.finish`.
    `stops_after`: how long it takes to end after its deletion was asked for. `crashes`: how its container ends each
    time it is started again (restartPolicy Always). `address`: the pod's IP, where a test really listens.
    """

    node: str = ""
    unschedulable: str = ""
    starts_after: float = 0.0
    waiting: str = ""
    waiting_message: str = ""
    runs_for: float | None = 0.0
    exit: Exit = field(default_factory=Exit)
    stops_after: float = 0.0
    crashes: Exit | None = None
    address: str = ""


def from_annotation(pod: Object) -> Script:
    """Read a script from the pod's annotation: JSON with Script's fields, `exit` an object with Exit's fields."""
    fields = json.loads(pod["metadata"].get("annotations", {}).get(ANNOTATION, "{}"))
    return Script(**{**fields, "exit": Exit(**fields.pop("exit", {}))})


def unschedulable(message: str, now: str) -> Object:
    """Return the status of a pod that no node takes."""
    return {
        "phase": "Pending",
        "conditions": [_condition("PodScheduled", "False", now, reason="Unschedulable", message=message)],
    }


def waiting(pod: Object, reason: str, message: str, now: str) -> Object:
    """Return the status of a pod on a node whose containers can't start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "startTime": now,
        "conditions": _conditions("False", now, "ContainersNotReady"),
        "containerStatuses": _containers(pod, state, ready=False, started=False),
    }


def running(pod: Object, address: str, host: str, now: str) -> Object:
    """Return the status of a pod whose containers run and are ready."""
    inits = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    return {
        "phase": "Running",
        "startTime": now,
        "hostIP": host,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _conditions("True", now),
        "initContainerStatuses": _containers(pod, inits, ready=True, started=False, key="initContainers"),
        "containerStatuses": _containers(pod, {"running": {"startedAt": now}}, ready=True, started=True),
    }


def crashing(pod: Object, how: Exit, address: str, now: str) -> Object:
    """Return the status of a pod whose container ended like this and waits to be started again."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    containers = _containers(pod, state, ready=False, started=False)
    last = {"lastState": {"terminated": _terminated(how, now, now)}, "restartCount": 1}
    return {
        "phase": "Running",
        "startTime": now,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _conditions("False", now, "ContainersNotReady"),
        "containerStatuses": [container | last for container in containers],
    }


def _terminated(how: Exit, started: str, now: str) -> Object:
    code = how.code or (128 + how.signal if how.signal else 0)
    terminated: Object = {
        "exitCode": code,
        "reason": how.reason or ("Error" if code else "Completed"),
        "startedAt": started,
        "finishedAt": now,
    }
    terminated |= {"signal": how.signal} if how.signal else {}
    return terminated | ({"message": how.message} if how.message else {})


def ended(pod: Object, how: Exit, started: str, now: str) -> Object:
    """Return the status of a pod whose containers have ended."""
    terminated = _terminated(how, started, now)
    going_on = None in how.others.values()
    why = "ContainersNotReady" if going_on else "PodFailed" if how.failed else "PodCompleted"
    conditions = _conditions("False", now, why)
    if how.condition:
        conditions.append(_condition(how.condition, "True", now, reason=how.pod_reason or how.condition))
    status: Object = {
        "phase": "Running" if going_on else "Failed" if how.failed else "Succeeded",
        "conditions": conditions,
        "containerStatuses": [
            _beside(container, how, started, now)
            for container in _containers(pod, {"terminated": terminated}, ready=False, started=False)
        ],
    }
    return status | ({"reason": how.pod_reason, "message": how.message} if how.pod_reason else {})


def _beside(container: Object, how: Exit, started: str, now: str) -> Object:
    name = container["name"]
    if name not in how.others:
        return container
    other = how.others[name]
    if other is None:
        return container | {"ready": True, "started": True, "state": {"running": {"startedAt": started}}}
    return container | {"state": {"terminated": _terminated(other, started, now)}}


def node(name: str, resources: Mapping[str, str], now: str, *, ready: bool = True) -> tuple[Object, Object]:
    """Return a node's object and its status: Ready, or Unknown as the node lifecycle controller leaves a lost one."""
    lost = [{"key": "node.kubernetes.io/unreachable", "effect": e} for e in ("NoSchedule", "NoExecute")]
    body = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": [] if ready else lost},
    }
    reason = "KubeletReady" if ready else "NodeStatusUnknown"
    condition = _condition("Ready", "True" if ready else "Unknown", now, reason=reason)
    return body, {"capacity": dict(resources), "allocatable": dict(resources), "conditions": [condition]}


def extended_requests(pod: Object) -> dict[str, int]:
    """Return what a pod asks of countable resources such as nvidia.com/gpu."""
    total: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        for name, amount in container.get("resources", {}).get("requests", {}).items():
            if "/" in name:
                total[name] = total.get(name, 0) + int(amount)
    return total


def _conditions(ready: str, now: str, reason: str = "") -> list[Object]:
    done = [_condition(kind, "True", now) for kind in ("Initialized", "PodScheduled")]
    return [*done, *(_condition(kind, ready, now, reason=reason) for kind in ("Ready", "ContainersReady"))]


def _condition(kind: str, status: str, now: str, *, reason: str = "", message: str = "") -> Object:
    words = {key: value for key, value in (("reason", reason), ("message", message)) if value}
    return {"type": kind, "status": status, "lastTransitionTime": now, "lastProbeTime": None, **words}


def _containers(pod: Object, state: Object, *, ready: bool, started: bool, key: str = "containers") -> list[Object]:
    return [
        {
            "name": c["name"],
            "image": c["image"],
            "imageID": f"scripted://{c['image']}",
            "containerID": f"scripted://{pod['metadata']['uid']}/{c['name']}",
            "ready": ready,
            "started": started,
            "restartCount": 0,
            "state": state,
            "lastState": {},
        }
        for c in pod["spec"].get(key, [])
    ]
