"""Parts of objects that a decision about gangs leans on. Pure; asked by admission.py about each change."""

from collections.abc import Callable, Mapping

from slipway.queueing.resources import PLACE, REQUESTS
from slipway.runtime.caching.cache import Change
from slipway.runtime.client.resource import (
    LIMIT_RANGES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    QUOTAS,
    Object,
    Resource,
)
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.queueing.claim import pause_end


def matters(resource: Resource, change: Change) -> bool:
    """Tell whether a decision about gangs may be another one now."""
    shown = _SHOWN.get(resource)
    if shown is None:
        return False
    return (change.old and shown(change.old)) != (change.new and shown(change.new))


def _of_pod(pod: Object) -> object:
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if ended:
        return None
    metadata = pod["metadata"]
    whose = metadata["uid"], metadata.get("labels"), metadata.get("ownerReferences"), metadata.get("deletionTimestamp")
    # Pods are resized in place, too.
    return (*whose, pod["spec"][PLACE], pod["spec"].get(REQUESTS))


def _of_job(job: Object) -> object:
    metadata, status = job["metadata"], job.get("status") or {}
    if status.get("completionTime"):
        return None
    asked = metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), bool(status.get("runtime"))
    made = (status.get("replicaStatuses") or {}).get("desired"), status.get("elastic")
    return (*asked, *made, status.get("attempt"), status.get("attemptTime"), status.get("startTime"), pause_end(job))


def _of_node(node: Object) -> object:
    return node["spec"], node["status"], node["metadata"].get("labels")


def _of_bounds(bounds: Object) -> object:
    return bounds["spec"], bounds.get("status")


def _of_class(priority_class: Object) -> object:
    return priority_class.get("value"), priority_class.get("preemptionPolicy"), priority_class.get("globalDefault")


BOUNDS = (QUOTAS, LIMIT_RANGES)
_SHOWN: Mapping[Resource, Callable[[Object], object]] = {
    PODS: _of_pod,
    TRAINING_JOBS: _of_job,
    NODES: _of_node,
    PRIORITY_CLASSES: _of_class,
    **dict.fromkeys(BOUNDS, _of_bounds),
}
