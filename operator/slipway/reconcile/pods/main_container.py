"""The container that the operator made, among those that webhooks inject into its pod. Pure; read by observed.py.

A job ends as it would without them: what that container's state, exit code and last words are is what counts, and a
pod whose other containers go on after its end has ended all the same. Native sidecars, which are init containers, end
by themselves: the kubelet sees to it. Without a name all containers count, as Kubernetes counts them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from slipway.runtime.conditions import parse_time

Status = Mapping[str, Any]


class End(NamedTuple):
    """End of a container. `own`: it is the one that the operator made, or all count."""

    container: str
    terminated: Mapping[str, Any]
    own: bool


def state_of(status: Status, name: str) -> Mapping[str, Any]:
    """State of the container of this name: `running`, `waiting` or `terminated`; empty while no kubelet has told."""
    return _find(status, name).get("state") or {}


def phase_of(status: Status, name: str) -> str:
    """The phase in which the pod would be if it had this container only."""
    told = status.get("phase") or "Pending"
    state = state_of(status, name)
    terminated = state.get("terminated")
    if told in {"Pending", "Running"}:
        if terminated:
            return "Succeeded" if terminated.get("exitCode") == 0 else "Failed"
        # Any container that cannot start yet, such as for want of its image, keeps the whole pod in Pending.
        return "Running" if state.get("running") else told
    # A reason of the pod's own is an eviction or the like: that would have ended it without the others, too.
    if told == "Failed" and not status.get("reason") and terminated and terminated.get("exitCode") == 0:
        return "Succeeded"
    return told


def left_over(status: Status, name: str) -> bool:
    """Tell whether others go on though this container has ended: they keep the pod, and all that it holds, for ever."""
    if status.get("phase") not in {None, "", "Pending", "Running"} or not state_of(status, name).get("terminated"):
        return False
    others = (entry for entry in status.get("containerStatuses") or () if entry.get("name") != name)
    return any(not (entry.get("state") or {}).get("terminated") for entry in others)


def end_time(status: Status, name: str) -> datetime | None:
    """Time of this container's end, by its node's clock."""
    return finished_at(state_of(status, name).get("terminated") or {})


def finished_at(terminated: Mapping[str, Any]) -> datetime | None:
    """The time of an end, None where its kubelet has not seen it: Go writes that as the first day of the year 1."""
    told = str(terminated.get("finishedAt") or "")
    return parse_time(told) if told and not told.startswith("0001-") else None


def ready(status: Status, name: str, conditions: Mapping[str, Any]) -> bool:
    """Tell whether this container is ready, on a node that answers."""
    if (conditions.get("Ready") or {}).get("status") == "True":
        return True
    # The node's controller takes Ready alone away; ContainersReady is the kubelet's word, on all containers.
    unready = (conditions.get("ContainersReady") or {}).get("status") == "False"
    return unready and bool(_find(status, name).get("ready"))


def silent(status: Status, name: str, conditions: Mapping[str, Any]) -> bool:
    """Tell whether a pod that is to go has a container that runs and a node that does not answer."""
    # A live kubelet reports the end of containers; one still running in a pod not ready: none reports.
    states = [state_of(status, name)] if name else [entry.get("state") or {} for entry in _regular(status)]
    if not any(state.get("running") for state in states) or (conditions.get("Ready") or {}).get("status") == "True":
        return False
    return not name or (conditions.get("ContainersReady") or {}).get("status") != "False"


def bad_end(status: Status, name: str) -> End | None:
    """End that the pod failed of; an init container counts only if it kept this container from starting."""
    if not name:
        found = [*_regular(status), *(status.get("initContainerStatuses") or ())]
        return next((_end(entry, own=True) for entry in found if _failed(entry)), None)
    state = state_of(status, name)
    if state.get("terminated"):
        entry = _find(status, name)
        return _end(entry, own=True) if _failed(entry) else None
    if state.get("running"):
        return None
    # The first to end: native sidecars that started before it are ended after it, and not well either.
    ends = [_end(entry, own=False) for entry in status.get("initContainerStatuses") or () if _failed(entry)]
    return min(ends, key=lambda end: str(end.terminated.get("finishedAt") or ""), default=None)


def last_words(status: Status, name: str) -> str:
    """The termination message."""
    states: Iterable[Mapping[str, Any]]
    states = [state_of(status, name)] if name else (entry.get("state") or {} for entry in _regular(status))
    words = ((state.get("terminated") or {}).get("message") for state in states)
    return next((str(message) for message in words if message), "")


def in_order(status: Status, name: str) -> list[Mapping[str, Any]]:
    """All containers, what keeps this one from running first."""
    mine = [entry for entry in _regular(status) if entry.get("name") == name]
    others = [entry for entry in _regular(status) if entry.get("name") != name]
    return [*(status.get("initContainerStatuses") or ()), *mine, *others]


def _regular(status: Status) -> list[Mapping[str, Any]]:
    return status.get("containerStatuses") or []


def _find(status: Status, name: str) -> Mapping[str, Any]:
    return next((entry for entry in _regular(status) if name and entry.get("name") == name), {})


def _failed(entry: Mapping[str, Any]) -> bool:
    ended = (entry.get("state") or {}).get("terminated") or {}
    return bool(ended) and ended.get("exitCode") != 0


def _end(entry: Mapping[str, Any], *, own: bool) -> End:
    return End(entry.get("name") or "", entry["state"]["terminated"], own)
