"""Pods and PodGroups as Kueue, Volcano and the coscheduling plugin document them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from slipway.api.common.types import Reason
from slipway.reconcile.pods.observed import observe_pod
from slipway.runtime.client.resource import PODS, Object
from slipway.trainingjob import pod_groups
from slipway.trainingjob.gang import TrainingGang
from tests.unit.trainingjob.rendered import PLATFORM, job_of, pod_of
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import fail, free_killed, run, to_next_due


def groups_of(job, attempt: int = 0):
    writes = TrainingGang(job, PLATFORM).writes([0], attempt, first=True)
    found = [write for write in writes if write.resource.plural == "podgroups"]
    assert all(write.resource is PODS for write in writes[writes.index(found[-1]) + 3 :]) if found else True
    return [write.manifest for write in found]


def test_kueue_counts_plain_pods_by_labels() -> None:
    job = job_of(numNodes=3, scheduling={"gang": "Kueue", "queue": "team-a"})
    for attempt in (0, 2):
        metadata = pod_of(job, 1, attempt)["metadata"]
        assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
        assert metadata["labels"]["kueue.x-k8s.io/pod-group-name"] == f"j-{job.uid[:8]}-a{attempt}"
        assert metadata["annotations"] == {
            "kueue.x-k8s.io/pod-group-total-count": "3",
            "kueue.x-k8s.io/retriable-in-group": "false",
        }
    assert groups_of(job) == []
    assert "schedulerName" not in pod_of(job)["spec"]


def test_kueue_groups_of_jobs_of_the_same_name_differ() -> None:
    """The Workload of the one before has finished, and lets nothing in."""
    kueue = {"gang": "Kueue", "queue": "q"}
    one, other = (replace(job_of(scheduling=kueue), name="n" * 55, uid=uid) for uid in ("1" * 36, "2" * 36))
    names = [pod_groups.workload(job, attempt) for job in (one, other) for attempt in (0, 12)]
    assert len({*names}) == 4
    assert all(len(name) <= 63 for name in names)


def test_kueue_counts_all_pods_of_an_elastic_gang() -> None:
    """It was given the least number, and deletes pods that exceed a group's count."""
    kueue = {"gang": "Kueue", "queue": "q"}
    job = job_of(numNodes=3, elasticPolicy={"minNodes": 1, "maxNodes": 4}, scheduling=kueue)
    assert pod_of(job, 2)["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"] == "3"


def test_a_pod_that_kueue_has_not_let_in_says_so() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gated"}
    pod = {"metadata": {"name": "p", "uid": "u"}, "status": {"phase": "Pending", "conditions": [scheduled]}}
    obstacle = observe_pod(pod, datetime.now(UTC)).obstacle
    assert obstacle is not None
    assert (obstacle.reason, obstacle.message) == (Reason.QUEUED, "gated")


def test_volcano() -> None:
    job = job_of(numNodes=4, scheduling={"gang": "Volcano", "queue": "q"}, pod={"priorityClassName": "high"})
    pod = pod_of(job)
    assert pod["metadata"]["annotations"] == {"scheduling.k8s.io/group-name": "j-gang-a0"}
    assert pod["spec"]["schedulerName"] == "volcano"
    (group,) = groups_of(job)
    assert (group["apiVersion"], group["metadata"]["name"]) == ("scheduling.volcano.sh/v1beta1", "j-gang-a0")
    assert group["spec"] == {"minMember": 4, "queue": "q", "priorityClassName": "high"}
    assert group["metadata"]["ownerReferences"] == [job.owner]


def test_coscheduling() -> None:
    job = job_of(numNodes=2, elasticPolicy={"minNodes": 1, "maxNodes": 4}, scheduling={"gang": "Coscheduling"})
    pod = pod_of(job, 1, 3)
    assert pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "j-gang-a3"
    assert pod["spec"]["schedulerName"] == "scheduler-plugins-scheduler"
    (group,) = groups_of(job, 3)
    assert group["apiVersion"] == "scheduling.x-k8s.io/v1alpha1"
    assert group["spec"] == {"minMember": 1}, "an elastic gang needs no more"


def test_the_users_scheduler_and_annotations_stay() -> None:
    own = {"schedulerName": "mine", "annotations": {"a": "b"}}
    pod = pod_of(job_of(scheduling={"gang": "Volcano"}, pod=own))
    assert pod["spec"]["schedulerName"] == "mine"
    assert pod["metadata"]["annotations"]["a"] == "b"


def test_by_default_nothing_of_this_is_there() -> None:
    assert "annotations" not in pod_of(job_of())["metadata"]
    assert groups_of(job_of()) == []


def _restarted(world: World) -> list[Object]:
    """PodGroups of a Volcano job that has failed once and runs again, or tries to."""
    world.create_job({"numNodes": 2, "trainer": {"command": ["train"]}, "scheduling": {"gang": "Volcano"}})
    world.settle()
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    while not any(pod["metadata"]["name"].endswith("a1") for pod in world.pods):
        to_next_due(world)
    return world.server.all(pod_groups.VOLCANO_GROUPS)


def test_the_group_of_an_attempt_that_is_over_goes(world: World) -> None:
    """Volcano kept one for each restart in mind, as long as the job was there."""
    assert [group["metadata"]["name"] for group in _restarted(world)] == ["job-gang-a1"]


def test_a_strangers_group_of_that_name_stays(world: World) -> None:
    taken = world.server.delete

    def left_alone(resource, name, uid=None, grace=None):
        assert resource is not pod_groups.VOLCANO_GROUPS, "it is not ours"
        return taken(resource, name, uid, grace)

    world.server.delete = left_alone  # type: ignore[method-assign]
    create = world.server.create

    def disowned(resource, obj):
        made = create(resource, obj)
        if resource is pod_groups.VOLCANO_GROUPS:
            made["metadata"]["ownerReferences"] = []
            world.server.store(resource, made)
        return made

    world.server.create = disowned  # type: ignore[method-assign]
    assert len(_restarted(world)) == 2
