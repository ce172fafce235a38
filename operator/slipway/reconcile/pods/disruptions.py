"""Disruptions of pods by the cluster, in the words of those who do it: kubelet, scheduler, eviction API, Kueue. Pure.

A disruption is no failure of the program: it has a budget of its own (policy/budget.py). Read by observed.py.

Sources: the kubelet's eviction, shutdown and admission code (status.reason), "Pod disruption conditions" of
Kubernetes' documentation (DisruptionTarget, since 1.26), Kueue's pod controller (TerminationTarget).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from slipway.api.common.types import Reason

_POD_REASONS = {
    "Evicted": Reason.EVICTED,
    "NodeLost": Reason.NODE_LOST,
    "Preempting": Reason.PREEMPTED,
    # The kubelet's graceful shutdown: since 1.22, in 1.20 and 1.21, and of pods that came while it was under way.
    "Terminated": Reason.NODE_SHUTDOWN,
    "Shutdown": Reason.NODE_SHUTDOWN,
    "NodeShutdown": Reason.NODE_SHUTDOWN,
    # What a kubelet says of a pod that it does not admit: after a reboot, before its devices are there again.
    "NodeAffinity": Reason.NODE_REFUSED,
    "NodePorts": Reason.NODE_REFUSED,
    "TopologyAffinityError": Reason.NODE_REFUSED,
    "UnexpectedAdmissionError": Reason.NODE_REFUSED,
    "UnexpectedError": Reason.NODE_REFUSED,
}
# Such as OutOfcpu and OutOfnvidia.com/gpu.
_OUT_OF = re.compile(r"OutOf\S+")
_TARGETS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "PreemptionByKubeScheduler": Reason.PREEMPTED,
    "DeletionByPodGC": Reason.NODE_LOST,
}
# Evictions that the program brings upon itself: its containers' or volumes' own limits, and not the node's want.
_OWN_LIMIT = re.compile(r"exceed(?:s|ed) (?:its|the) .*limit")
# Exit codes that no program has chosen: the node was started anew, and the container's end was seen by nobody.
_UNSEEN_ENDS = {("ContainerStatusUnknown", 137), ("Unknown", 255)}


class Disruption(NamedTuple):
    """Disruption of a pod; `own`: by its own fault after all."""

    reason: Reason
    message: str
    own: bool = False


def of_pod(status: Mapping[str, Any], conditions: Mapping[str, Any]) -> Disruption | None:
    """Disruption that ended a pod, by its status; None where that was nobody but its containers."""
    told, words = str(status.get("reason") or ""), str(status.get("message") or "")
    asked = of_conditions(conditions)
    reason = _POD_REASONS.get(told) or (Reason.NODE_REFUSED if _OUT_OF.fullmatch(told) else None)
    if reason is None:
        return asked and Disruption(asked.reason, words or asked.message)
    own = reason is Reason.EVICTED and asked is None and bool(_OWN_LIMIT.search(words))
    words = words or (asked.message if asked else "")
    return Disruption(reason, words and f"{told}: {words}" if reason is Reason.NODE_REFUSED else words, own)


def of_conditions(conditions: Mapping[str, Any]) -> Disruption | None:
    """Disruption that is announced by whoever is about to delete the pod; None without one."""
    queued, target = conditions.get("TerminationTarget") or {}, conditions.get("DisruptionTarget") or {}
    if queued.get("status") == "True":
        return Disruption(Reason.PREEMPTED, queued.get("message") or "its queue wants the room back")
    if target.get("status") != "True":
        return None
    reason = _TARGETS.get(target.get("reason") or "", Reason.EVICTED)
    return Disruption(reason, target.get("message") or "the pod was disrupted")


def of_container(terminated: Mapping[str, Any]) -> Disruption | None:
    """Disruption by a lost node: a kubelet came back, did not find the container any more, and made its end up."""
    if (terminated.get("reason"), terminated.get("exitCode")) not in _UNSEEN_ENDS:
        return None
    return Disruption(Reason.NODE_LOST, terminated.get("message") or "the node was started anew under the container")
