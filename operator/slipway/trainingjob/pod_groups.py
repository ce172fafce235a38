"""Gangs that another project lets in: what Kueue, Volcano and coscheduling want of pods and PodGroups. Pure.

Sources: kueue.sigs.k8s.io "Run a Group of Plain Pods" (labels, total count); volcano.sh "PodGroup" (annotation,
minMember, queue); scheduler-plugins' README of coscheduling (label, minMember). A group has the gang's own pods and
nothing else: one that counts what starts later never fills.

Kueue, by its pod controller's source: it waits for ever for pods that replace failed ones of a group, and keeps the
group's quota and a finalizer on each of its pods meanwhile, unless a pod says that the group is not retriable: then
it has finished when no pod of it runs any more. A Workload is named after the group and may outlive the job.
docs/adr/0015 has the whole story.
"""

from typing import Any

from slipway.api.common.scheduling import GangScheduler
from slipway.runtime.client.resource import Resource
from slipway.trainingjob.job import TrainingJob

VOLCANO_GROUPS = Resource("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup")
COSCHEDULING_GROUPS = Resource("scheduling.x-k8s.io", "v1alpha1", "podgroups", "PodGroup")
# Characters of a label's value.
LONGEST_LABEL = 63
_SCHEDULERS = {GangScheduler.VOLCANO: "volcano", GangScheduler.COSCHEDULING: "scheduler-plugins-scheduler"}


def mark(job: TrainingJob, attempt: int, metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    """Put what the project looks for on a pod."""
    group, annotations = name(job, attempt), metadata.setdefault("annotations", {})
    match job.spec.scheduling.gang:
        case GangScheduler.KUEUE:
            metadata["labels"]["kueue.x-k8s.io/queue-name"] = job.spec.scheduling.queue
            metadata["labels"]["kueue.x-k8s.io/pod-group-name"] = workload(job, attempt)
            # Not the least: Kueue deletes the pods of a group that exceed its count.
            annotations["kueue.x-k8s.io/pod-group-total-count"] = str(job.spec.num_nodes)
            annotations["kueue.x-k8s.io/retriable-in-group"] = "false"
        case GangScheduler.VOLCANO:
            annotations["scheduling.k8s.io/group-name"] = group
        case GangScheduler.COSCHEDULING:
            metadata["labels"]["scheduling.x-k8s.io/pod-group"] = group
    if not annotations:
        del metadata["annotations"]
    if job.spec.pod.scheduler_name is None and job.spec.scheduling.gang in _SCHEDULERS:
        spec["schedulerName"] = _SCHEDULERS[job.spec.scheduling.gang]


def pod_group(job: TrainingJob, attempt: int) -> tuple[Resource, dict[str, Any]] | None:
    """The object that says how many pods belong together, for those projects that want one."""
    elastic = job.spec.elastic_policy
    wanted: dict[str, Any] = {"minMember": elastic.min_nodes if elastic else job.spec.num_nodes}
    match job.spec.scheduling.gang:
        case GangScheduler.VOLCANO:
            resource = VOLCANO_GROUPS
            wanted |= {"queue": job.spec.scheduling.queue} if job.spec.scheduling.queue else {}
            wanted |= (
                {"priorityClassName": job.spec.pod.priority_class_name} if job.spec.pod.priority_class_name else {}
            )
        case GangScheduler.COSCHEDULING:
            resource = COSCHEDULING_GROUPS
        case _:
            return None
    identity = {"name": name(job, attempt), "namespace": job.namespace, "labels": dict(job.labels)}
    metadata = {**identity, "ownerReferences": [job.owner]}
    return resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": wanted}


def workload(job: TrainingJob, attempt: int) -> str:
    """Kueue's group, one per attempt. By the job's UID: the Workload of a deleted job of the same name has finished,
    and Kueue would let nothing into it.
    """
    end = f"-{job.uid[:8]}-a{attempt}"
    return job.name[: LONGEST_LABEL - len(end)].rstrip("-.") + end


def name(job: TrainingJob, attempt: int) -> str:
    """One group per attempt: pods of the one before are not waited for."""
    return f"{job.name}-gang-a{attempt}"
