"""Cleanup of pods: those of a finished job, those of earlier attempts, and ghosts that no kubelet will remove."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.common.types import CleanPodPolicy
from slipway.reconcile.plan import Delete, soonest
from slipway.reconcile.pods.observed import PodState
from slipway.runtime.client.resource import PODS

# A delete whose answer did not say when the pod's grace period ends is looked at again after so many seconds.
SECOND_LOOK_SECONDS = 1.0
# The end of what only finalizers keep is an event; that it may be lost, no reason to look often.
HELD_LOOK_SECONDS = 60.0
# Containers that others put into a pod may end by themselves so long after its own: some upload its logs then.
LEFT_OVER_SECONDS = 10.0


@dataclass(frozen=True)
class Cleanup:
    """Deletes to ask for now, and seconds until one of these pods may need to be deleted by force."""

    deletes: tuple[Delete, ...] = ()
    wait: float | None = None


def after_finish(policy: CleanPodPolicy, pods: Iterable[PodState], grace: int, now: datetime) -> Cleanup:
    """Pods to delete once the job has finished. Asked for again at every look until they are gone.

    What others put into a pod must not hold its node's accelerators, whatever the policy keeps.
    """
    pods = list(pods)
    running = [pod for pod in pods if not pod.ended] if policy is CleanPodPolicy.RUNNING else []
    doomed = clean(pods if policy is CleanPodPolicy.ALL else running, grace, now)
    return doomed if policy is CleanPodPolicy.ALL else _joined(doomed, left_over(pods, grace, now))


def replaced(pods: Iterable[PodState], keep: str, grace: int, now: datetime) -> Cleanup:
    """Pods that are not the gang's any more; the one that failed last stays, when it has ended, for its logs."""
    pods = list(pods)
    kept = [pod for pod in pods if pod.ended and pod.name == keep]
    doomed = clean([pod for pod in pods if pod not in kept], grace, now)
    return _joined(doomed, left_over(kept, grace, now))


def left_over(pods: Iterable[PodState], grace: int, now: datetime) -> Cleanup:
    """Select pods whose own container has ended while others still run."""
    doomed, wait = [], None
    for pod in pods:
        left = _seconds_left_over(pod, now) if pod.left_over else None
        if left is not None and left > 0 and not pod.deleting:
            wait = soonest(wait, left)
        elif left is not None:
            doomed.append(pod)
    cleaning = clean(doomed, grace, now)
    return Cleanup(cleaning.deletes, soonest(cleaning.wait, wait))


def _seconds_left_over(pod: PodState, now: datetime) -> float:
    ended = (now - pod.end_time).total_seconds() if pod.end_time is not None else LEFT_OVER_SECONDS
    # A node whose clock is ahead must not hold its pod until ours gets there.
    return LEFT_OVER_SECONDS - ended if ended >= 0 else 0.0


def _joined(one: Cleanup, other: Cleanup) -> Cleanup:
    return Cleanup((*one.deletes, *other.deletes), soonest(one.wait, other.wait))


def in_the_way(pods: Iterable[PodState], attempt: int) -> bool:
    """Tell whether a pod of an earlier attempt may still run: two gangs at once would corrupt the checkpoint."""
    return any(pod.attempt < attempt and pod.may_run for pod in pods)


def clean(pods: Iterable[PodState], grace: int, now: datetime) -> Cleanup:
    """Delete these pods, by force those that outlasted their grace period by `grace` seconds."""
    deletes: list[Delete] = []
    wait: float | None = None
    for pod in pods:
        if pod.deletion_time is None:
            deletes.append(Delete(PODS, pod.name, pod.uid))
            wait = soonest(wait, max(SECOND_LOOK_SECONDS, grace))
            continue
        if pod.held_by:
            # No delete, however often and by whatever force, does what whoever set the finalizer has to do.
            wait = soonest(wait, HELD_LOOK_SECONDS)
            continue
        overdue_in = (pod.deletion_time + timedelta(seconds=grace) - now).total_seconds()
        if overdue_in <= 0:
            # Its kubelet had its time and more: the node is gone, and nobody else will ever remove the pod.
            deletes.append(Delete(PODS, pod.name, pod.uid, force=True))
        wait = soonest(wait, max(SECOND_LOOK_SECONDS, overdue_in))
    return Cleanup(tuple(deletes), wait)
