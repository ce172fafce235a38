"""Which pods have to go: those of a finished job, those of earlier attempts, and ghosts that no kubelet will remove."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.common import CleanPodPolicy
from slipway.job.observed import PodState
from slipway.job.plan import Delete, soonest
from slipway.runtime.resource import PODS

# A delete whose answer did not say when the pod's grace period ends is looked at again after so many seconds.
SECOND_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Cleaning:
    """Deletes to ask for now, and seconds until one of these pods may need to be deleted by force."""

    deletes: tuple[Delete, ...] = ()
    wait: float | None = None


def after_finish(policy: CleanPodPolicy, pods: Iterable[PodState], grace: int, now: datetime) -> Cleaning:
    """Pods to delete once the job has finished. Asked for again at every look until they are gone."""
    return clean(
        [pod for pod in pods if policy is CleanPodPolicy.ALL or (policy is CleanPodPolicy.RUNNING and not pod.ended)],
        grace,
        now,
    )


def replaced(pods: Iterable[PodState], keep: str, grace: int, now: datetime) -> Cleaning:
    """Pods that are not the gang's any more; the one that failed last stays, when it has ended, for its logs."""
    return clean([pod for pod in pods if not (pod.ended and pod.name == keep)], grace, now)


def in_the_way(pods: Iterable[PodState], attempt: int) -> bool:
    """Whether a pod of an earlier attempt may still run: two gangs at once would corrupt the checkpoint."""
    return any(pod.attempt < attempt and not pod.ended for pod in pods)


def clean(pods: Iterable[PodState], grace: int, now: datetime) -> Cleaning:
    """Delete these pods, by force those that outlasted their grace period by `grace` seconds."""
    deletes: list[Delete] = []
    wait: float | None = None
    for pod in pods:
        if pod.deletion_time is None:
            deletes.append(Delete(PODS, pod.name, pod.uid))
            wait = soonest(wait, max(SECOND_LOOK_SECONDS, grace))
            continue
        overdue_in = (pod.deletion_time + timedelta(seconds=grace) - now).total_seconds()
        if overdue_in <= 0:
            # Its kubelet had its time and more: the node is gone, and nobody else will ever remove the pod.
            deletes.append(Delete(PODS, pod.name, pod.uid, force=True))
        wait = soonest(wait, max(SECOND_LOOK_SECONDS, overdue_in))
    return Cleaning(tuple(deletes), wait)
