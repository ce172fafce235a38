"""Which pods have to go: those of a finished job, and those of earlier attempts."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from slipway.api.common import CleanPodPolicy
from slipway.job.observed import PodState
from slipway.job.plan import Delete
from slipway.runtime.resource import PODS


def after_finish(policy: CleanPodPolicy, pods: Iterable[PodState], grace: int, now: datetime) -> tuple[Delete, ...]:
    """Pods to delete once the job has finished. Asked for again at every look until they are gone."""
    doomed = [
        pod for pod in pods if policy is CleanPodPolicy.ALL or (policy is CleanPodPolicy.RUNNING and not pod.ended)
    ]
    return _deletes(doomed, grace, now)


def earlier_attempts(
    pods: Iterable[PodState], attempt: int, keep: str, grace: int, now: datetime
) -> tuple[Delete, ...]:
    """Pods of earlier attempts; the one that failed last stays, when it has ended, for its logs."""
    return _deletes(
        [pod for pod in pods if pod.attempt != attempt and not (pod.ended and pod.name == keep)], grace, now
    )


def in_the_way(pods: Iterable[PodState], attempt: int) -> bool:
    """Whether a pod of another attempt may still run: two gangs at once would corrupt the checkpoint."""
    return any(pod.attempt != attempt and not pod.ended for pod in pods)


def overdue_in(pods: Iterable[PodState], grace: int, now: datetime) -> float | None:
    """Seconds until the first pod that is being deleted has to be deleted by force."""
    waits = [
        (pod.deletion_time + timedelta(seconds=grace) - now).total_seconds()
        for pod in pods
        if pod.deletion_time is not None
    ]
    return max(0.0, min(waits)) if waits else None


def _deletes(pods: Iterable[PodState], grace: int, now: datetime) -> tuple[Delete, ...]:
    found = []
    for pod in pods:
        if pod.deletion_time is None:
            found.append(Delete(PODS, pod.name, pod.uid))
        elif now >= pod.deletion_time + timedelta(seconds=grace):
            # Its kubelet had its time and more: the node is gone, and nobody else will ever remove the pod.
            found.append(Delete(PODS, pod.name, pod.uid, force=True))
    return tuple(found)
