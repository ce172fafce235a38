"""Pods that are gone already, if they tell how they ended or who sent them away. A kubelet tells how a pod that is to
go has ended and removes it milliseconds later; a watch that hands out only the newest of what came at once never shows
the end in a pod that is still there.

Fed with the cache's changes, read by reconciles; soft state, lost at a restart.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from slipway.api.common.types import GROUP
from slipway.reconcile.pods.disruptions import of_conditions
from slipway.runtime.caching.store import Change
from slipway.runtime.client.resource import Identity, Object, parent_of, uid_of
from slipway.runtime.conditions import format_time

# Longer than a job waits to be looked at while the server answers nobody.
KEPT = timedelta(minutes=10)
# About 5 kB each. Beyond it, the namespace that has the most loses its oldest: nobody can crowd out the others.
CAPACITY = 2048


class DeletedPods:
    """Memory of deleted pods, by their job."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        # Pod's UID -> when it went, and its job; in the order in which they went.
        self._went: OrderedDict[str, tuple[datetime, Identity]] = OrderedDict()
        self._pods: dict[Identity, dict[str, Object]] = {}
        self._of_namespace: Counter[str] = Counter()

    def changed(self, change: Change) -> None:
        """Keep a pod that goes, if it tells more than that it is gone."""
        pod, now = change.last or change.old, self._clock()
        if pod is None or change.new is not None or not (_ended(pod) or _disrupted(pod)):
            return
        job = parent_of(pod)
        if job is None or job.group != GROUP:
            return
        if not _ended(pod):
            # Who deletes by force is not always told of before.
            pod = pod | {"metadata": {"deletionTimestamp": format_time(now)} | pod["metadata"]}
        if uid_of(pod) in self._went:
            self._drop(uid_of(pod))
        self._of_namespace[job.namespace] += 1
        self._went[uid_of(pod)] = now, job
        self._pods.setdefault(job, {})[uid_of(pod)] = pod
        while self._went and next(iter(self._went.values()))[0] < now - KEPT:
            self._drop(next(iter(self._went)))
        if len(self._went) > CAPACITY:
            ((most, _),) = self._of_namespace.most_common(1)
            self._drop(next(uid for uid, (_, whose) in self._went.items() if whose.namespace == most))

    def of(self, job: Identity) -> list[Object]:
        """Deleted pods of one job, in the order in which they went."""
        return list(self._pods.get(job, {}).values())

    def _drop(self, pod: str) -> None:
        _, job = self._went.pop(pod)
        left = self._pods[job]
        del left[pod]
        if not left:
            del self._pods[job]
        self._of_namespace[job.namespace] -= 1
        if not self._of_namespace[job.namespace]:
            del self._of_namespace[job.namespace]


def _ended(pod: Object) -> bool:
    """Tell whether the pod, or one of its containers, had ended: another that goes on hides that in the pod's phase."""
    status = pod.get("status") or {}
    ends = ((entry.get("state") or {}).get("terminated") for entry in status.get("containerStatuses") or ())
    return status.get("phase") in {"Failed", "Succeeded"} or any(ends)


def _disrupted(pod: Object) -> bool:
    """Tell whether somebody had announced that he would delete the pod."""
    told = (pod.get("status") or {}).get("conditions") or ()
    return of_conditions({entry.get("type"): entry for entry in told}) is not None
