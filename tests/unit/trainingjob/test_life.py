"""One story per bug that the state machine or a review found, told with the real operator on a simulated server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from slipway.runtime import conditions
from slipway.runtime.resource import CONFIGMAPS, PODS, SERVICES, Object
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import NAME, Process, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.loop.close()


def begin(world: World, nodes: int = 2, **spec: Any) -> None:
    """A job whose pods have been created."""
    world.create_job(
        {
            "numNodes": nodes,
            "trainer": {"command": ["train"]},
            "pod": {"terminationGracePeriodSeconds": 30},
            "runPolicy": spec.get("runPolicy", {}),
            "failurePolicy": {"maxRestarts": 3, "nodeLostGraceSeconds": 10} | spec.get("failurePolicy", {}),
        }
    )
    world.settle()


def run(world: World, node: str = "node-a") -> None:
    """All its pods run."""
    for pod in world.pods:
        if pod["status"]["phase"] == "Pending":
            world.start_pod(pod, node)
    world.settle()


def fail(world: World, name: str, code: int = 1) -> None:
    world.end_pod(world.server.get(PODS, name), code)
    world.settle()


def status(world: World) -> Object:
    assert world.job is not None
    found: Object = world.job["status"]
    return found


def condition(world: World, kind: str) -> Object:
    found = conditions.get(status(world)["conditions"], kind)
    assert found is not None, f"no condition {kind}: {status(world)['conditions']}"
    return found


def names(world: World) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in world.pods)


def to_next_due(world: World) -> None:
    due = world.process.queue.next_due()
    assert due is not None, "nothing wakes the job"
    world.clock.seconds = max(world.clock.seconds, due)
    world.settle()


def free_killed(world: World) -> None:
    """Live kubelets end what is to be deleted."""
    for pod in world.pods:
        if pod["metadata"].get("deletionTimestamp") and pod["spec"].get("nodeName") not in world.lost:
            world.server.remove(PODS, pod["metadata"]["name"])
    world.settle()


def test_happy_path(world: World) -> None:
    begin(world)
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]
    assert condition(world, "Ready")["status"] == "Unknown"
    run(world)
    assert condition(world, "Running")["status"] == "True"
    for pod in world.pods:
        world.end_pod(pod, 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    assert condition(world, "Ready")["status"] == "True"
    assert conditions.get(status(world)["conditions"], "Reconciling") is None
    assert status(world)["replicaStatuses"] == {"desired": 2, "active": 0, "ready": 0, "succeeded": 2, "failed": 0}
    assert status(world)["startTime"] <= status(world)["completionTime"]
    assert [reason for _, reason in world.notices] == ["AllPodsRunning", "Succeeded"]


def test_four_pods_cost_seven_requests_to_start_and_two_to_end(world: World) -> None:
    begin(world, nodes=4)
    assert world.process.kube.writes == 7
    run(world)
    for pod in world.pods:
        world.end_pod(pod, 0)
    world.settle()
    assert world.process.kube.writes == 9


def test_a_status_that_nobody_has_written_gives_no_transition_time(world: World) -> None:
    begin(world)
    assert condition(world, "Ready")["lastTransitionTime"] == "2026-11-01T12:00:00Z"


def test_the_whole_gang_restarts_and_the_failed_pod_stays_for_its_logs(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-1-a0", 137)
    assert status(world)["restartCount"] == 1
    failure = status(world)["lastFailure"]
    assert failure.items() >= {"pod": "job-node-1-a0", "node": "node-a", "exitCode": 137, "signal": "SIGKILL"}.items()
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"], "the new gang waits until the old one is gone"
    free_killed(world)
    assert names(world) == ["job-node-0-a1", "job-node-1-a0", "job-node-1-a1"]
    selector = world.server.get(SERVICES, "job-nodes")["spec"]["selector"]
    assert selector["slipway.dev/attempt"] == "1"


def test_a_ghost_on_a_lost_node_is_deleted_by_force_although_nothing_tells_of_it(world: World) -> None:
    """The echo of our own delete is no news, so only a deadline can wake the job."""
    begin(world)
    run(world, "node-a")
    world.lose_node("node-a")
    fail(world, "job-node-1-a0")
    for _ in range(4):
        if "job-node-0-a1" in names(world):
            break
        to_next_due(world)
    assert "job-node-0-a0" not in names(world)
    assert "job-node-0-a1" in names(world)
    assert world.clock.seconds <= 30 + 10 + 10 + 1


def test_ghosts_of_a_finished_job_are_deleted_by_force(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    run(world, "node-a")
    world.lose_node("node-a")
    fail(world, "job-node-1-a0")
    assert condition(world, "Failed")["reason"] == "MaxRestartsExceeded"
    assert status(world)["replicaStatuses"]["active"] == 0
    for _ in range(4):
        if not world.alive():
            break
        to_next_due(world)
    assert not world.alive()


def test_success_is_persisted_before_the_pods_are_cleaned_up(world: World) -> None:
    """Else a crash between the two would look like lost pods, and the job would train again."""
    begin(world, runPolicy={"cleanPodPolicy": "All"})
    run(world)
    for pod in world.pods:
        world.end_pod(pod, 0)
    world.process.kube.crash_at = world.process.kube.writes + 2
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    assert status(world).get("restartCount", 0) == 0
    assert names(world) == []


def test_a_restart_is_persisted_before_a_pod_is_touched(world: World) -> None:
    """Else an operator that dies between the two would take the decision twice, or forget what failed."""
    begin(world)
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), 1)
    world.process.kube.crash_at = world.process.kube.writes + 1
    world.process.deliver(PODS)
    world.work()
    assert (status(world)["restartCount"], status(world)["attempt"]) == (1, 1)
    assert not [p for p in world.pods if p["metadata"].get("deletionTimestamp")]
    world.settle()
    free_killed(world)
    assert (status(world)["restartCount"], status(world)["attempt"]) == (1, 1)
    assert "job-node-0-a1" in names(world)


def test_pods_that_ended_while_the_operator_crashed_are_cleaned_up(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    for pod in world.pods:
        world.end_pod(pod, 1)
    world.process.kube.crash_at = world.process.kube.writes + 1
    world.settle()
    assert status(world)["restartCount"] == 1
    assert [name for name in names(world) if name.endswith("a0")] == [status(world)["lastFailure"]["pod"]]


def test_an_operator_that_was_away_for_the_whole_run_writes_the_same_end(world: World) -> None:
    begin(world)
    world.process.kube.crash_at, world.process.kube.crash_first = world.process.kube.writes + 1, True
    other = World()
    begin(other)
    for one, away in ((world, True), (other, False)):
        if away:
            one.job["status"] = {"observedGeneration": -1}  # type: ignore[index]
            one.restart()
        for pod in one.pods:
            one.start_pod(pod, "node-a")
        if not away:
            one.settle()
        for pod in one.pods:
            one.end_pod(pod, 0)
        one.settle()
    kinds = [{c["type"]: c["status"] for c in status(one)["conditions"]} for one in (world, other)]
    assert kinds[0] == kinds[1]
    other.loop.close()


def test_a_pod_deleted_by_somebody_else_restarts_the_gang(world: World) -> None:
    begin(world)
    run(world)
    world.server.delete(PODS, "job-node-0-a0", grace=0)
    world.settle()
    assert status(world)["lastFailure"]["reason"] == "PodDeleted"
    assert status(world)["restartCount"] == 1


def test_a_watch_that_lags_does_not_restart_a_healthy_gang(world: World) -> None:
    """Two operators, and the second one hears of the status before it hears of the pods."""
    second = Process(world.server, world.clock, world.notices)
    begin(world)
    run(world)
    second.deliver(TRAINING_JOBS)
    while world.loop.run_until_complete(second.work()):
        pass
    assert second.kube.writes == 0
    assert "lastFailure" not in status(world)
    assert len(second.cache[PODS]) == 2


def test_pods_of_an_attempt_that_the_cache_does_not_know_of_are_not_deleted(world: World) -> None:
    """The same the other way round: the second operator hears of the new gang before it hears of the restart."""
    second = Process(world.server, world.clock, world.notices)
    begin(world)
    run(world)
    second.deliver(TRAINING_JOBS)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    second.deliver(PODS)
    while world.loop.run_until_complete(second.work()):
        pass
    assert second.kube.writes == 0
    assert len(world.alive()) == 2


def test_a_pod_whose_labels_were_taken_off_leaves_the_gang(world: World) -> None:
    begin(world)
    run(world)
    pod = world.server.get(PODS, "job-node-0-a0")
    bare = {**pod, "metadata": {k: v for k, v in pod["metadata"].items() if k != "labels"}}
    world.server.store(PODS, bare, "DELETED")  # what a watch with our selector tells then
    world.settle()
    assert status(world)["restartCount"] == 1
    assert world.server.get(PODS, "job-node-0-a0")["metadata"]["deletionTimestamp"]


def test_suspending_a_job_whose_pods_are_gone_costs_no_restart(world: World) -> None:
    begin(world)
    for name in names(world):
        world.server.delete(PODS, name)
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert status(world).get("restartCount", 0) == 0
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]


def test_suspend_and_resume_tell_one_event_each(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    free_killed(world)
    assert names(world) == []
    assert condition(world, "Suspended")["status"] == "True"
    world.edit(("numNodes",), 3)
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    assert len(names(world)) == 3
    assert condition(world, "Suspended")["status"] == "False"
    reasons = [reason for _, reason in world.notices]
    assert (reasons.count("Suspended"), reasons.count("Resumed")) == (1, 1)


def test_what_was_made_of_an_older_spec_is_brought_up_to_date(world: World) -> None:
    """The ConfigMap was made, the pods were refused, the user suspended and edited: it must not train the old job."""
    world.server.pod_quota = 0
    begin(world)
    assert condition(world, "Created")["reason"] == "CreateRefused"
    for path, value in ((("runPolicy", "suspend"), True), (("numNodes",), 3), (("runPolicy", "suspend"), False)):
        world.edit(path, value)
        world.settle()
    world.server.pod_quota = None
    to_next_due(world)
    assert '"numNodes": 3' in world.server.get(CONFIGMAPS, "job-job")["data"]["job.json"]
    assert len(names(world)) == 3


def test_a_strangers_object_is_not_overwritten_by_a_restart(world: World) -> None:
    begin(world)
    run(world)
    world.server.remove(CONFIGMAPS, "job-job")
    world.server.create(CONFIGMAPS, {"metadata": {"name": "job-job"}, "data": {"theirs": "1"}})
    fail(world, "job-node-0-a0")
    free_killed(world)
    assert world.server.get(CONFIGMAPS, "job-job")["data"] == {"theirs": "1"}
    assert condition(world, "Ready")["reason"] == "NameConflict"
    world.server.remove(CONFIGMAPS, "job-job")
    to_next_due(world)
    assert "job-node-0-a1" in names(world)
    assert condition(world, "Created")["status"] == "True"


def test_a_refusal_meets_the_startup_deadline(world: World) -> None:
    world.server.pod_quota = 1
    begin(world, runPolicy={"startupDeadlineSeconds": 60})
    assert condition(world, "Ready")["reason"] == "CreateRefused"
    assert "exceeded quota" in condition(world, "Ready")["message"]
    for _ in range(20):
        if conditions.is_true(status(world)["conditions"], "Failed"):
            break
        to_next_due(world)
    assert condition(world, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert "exceeded quota" in condition(world, "Failed")["message"]
    assert 60 <= world.clock.seconds <= 61.1
    assert not world.alive()


def test_a_quota_is_not_asked_for_every_pod_of_a_large_gang(world: World) -> None:
    world.server.pod_quota = 0
    begin(world, nodes=500)
    assert world.process.kube.writes <= 2 + 8 + 1


@pytest.mark.parametrize("nodes", [1, 3])
def test_an_edit_of_the_node_count_loses_no_pod(world: World, nodes: int) -> None:
    begin(world)
    run(world)
    world.edit(("numNodes",), nodes)
    world.settle()
    assert condition(world, "Stalled")["reason"] == "SpecChanged"
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]
    for pod in world.pods:
        world.end_pod(pod, 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"


def test_a_changed_spec_is_told_once_and_taken_back(world: World) -> None:
    begin(world)
    world.edit(("numNodes",), 3)
    for _ in range(5):
        world.clock.seconds += 1
        world.process.queue.mark(next(iter([("team", NAME)])))  # type: ignore[arg-type]
        world.settle()
    writes = world.process.kube.writes
    run(world)
    assert condition(world, "Running")["status"] == "True", "the pods' life goes on"
    assert world.process.kube.writes == writes + 1
    assert [reason for _, reason in world.notices].count("SpecChanged") == 2
    world.edit(("numNodes",), 2)
    world.settle()
    assert conditions.get(status(world)["conditions"], "Stalled") is None
    assert condition(world, "Ready")["reason"] == "AllPodsRunning"


def test_deadlines_hold_for_a_changed_spec(world: World) -> None:
    """And the operator must not spin on a deadline that has passed."""
    begin(world, runPolicy={"activeDeadlineSeconds": 20})
    run(world)
    world.edit(("numNodes",), 3)
    world.settle()
    to_next_due(world)
    assert condition(world, "Failed")["reason"] == "DeadlineExceeded"
    assert 20 <= world.clock.seconds <= 21


def test_a_failure_under_a_changed_spec_ends_the_job(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("numNodes",), 3)
    fail(world, "job-node-0-a0")
    assert condition(world, "Failed")["reason"] == "SpecChanged"


def test_an_edit_between_two_attempts_waits_for_the_user(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    world.edit(("numNodes",), 3)
    free_killed(world)
    assert condition(world, "Stalled")["reason"] == "SpecChanged"
    assert not world.alive()
    world.edit(("numNodes",), 2)
    world.settle()
    assert len(world.alive()) == 2


def test_the_end_follows_the_generation_so_that_flux_sees_no_work_in_progress(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 0})
    fail(world, "job-node-0-a0")
    world.edit(("runPolicy", "activeDeadlineSeconds"), 5)
    world.settle()
    assert world.job is not None
    assert status(world)["observedGeneration"] == world.job["metadata"]["generation"] == 2


def test_running_time_only_counts_towards_the_deadline(world: World) -> None:
    begin(world, runPolicy={"activeDeadlineSeconds": 100})
    world.clock.seconds += 1000
    run(world)
    world.clock.seconds += 60
    fail(world, "job-node-0-a0")
    world.clock.seconds += 500
    free_killed(world)
    run(world)
    started = world.clock.seconds
    to_next_due(world)
    assert condition(world, "Failed")["reason"] == "DeadlineExceeded"
    assert world.clock.seconds - started == pytest.approx(40, abs=1)


def test_ttl_counts_from_every_end_and_survives_a_restart(world: World) -> None:
    begin(world, runPolicy={"ttlSecondsAfterFinished": 50}, failurePolicy={"maxRestarts": 0})
    fail(world, "job-node-0-a0")
    world.clock.seconds += 30
    world.restart()
    world.settle()
    assert world.job is not None
    to_next_due(world)
    assert world.job is None
    assert world.clock.seconds == pytest.approx(50, abs=1)


def _pull_error(world: World, name: str, reason: str, message: str) -> None:
    pod = dict(world.server.get(PODS, name))
    waiting = {"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [waiting]}
    world.server.store(PODS, pod)
    world.settle()


def test_a_kubelet_that_alternates_between_error_and_back_off_costs_one_write(world: World) -> None:
    begin(world)
    _pull_error(world, "job-node-0-a0", "ErrImagePull", "manifest unknown")
    writes = world.process.kube.writes
    for _ in range(5):
        _pull_error(world, "job-node-0-a0", "ImagePullBackOff", "Back-off pulling image")
        _pull_error(world, "job-node-0-a0", "ErrImagePull", "manifest unknown")
    assert world.process.kube.writes == writes
    assert condition(world, "Ready")["reason"] == "ImagePullError"
    assert "manifest unknown" in condition(world, "Ready")["message"]
    assert [reason for _, reason in world.notices] == ["ImagePullError"]


def _again(world: World) -> None:
    """Delete the job and create it again under its name, while its pods still live."""
    spec = dict(world.job["spec"])  # type: ignore[index]
    world.server.delete(TRAINING_JOBS, NAME)
    world.create_job(spec)
    world.settle()


def test_a_successor_waits_for_pods_of_other_attempts_too(world: World) -> None:
    """No name collides, but both gangs would write to the same checkpoint."""
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    _again(world)
    world.server.collect_garbage()
    world.settle()
    assert {name[-2:] for name in names(world)} == {"a1"}
    assert "job-node" in condition(world, "Ready")["message"]
    assert status(world).get("restartCount", 0) == 0
    assert "lastFailure" not in status(world)
    free_killed(world)
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]


def test_a_successor_finds_its_predecessors_pods_after_a_restart_of_the_operator(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-0-a0")
    free_killed(world)
    run(world)
    spec = dict(world.job["spec"])  # type: ignore[index]
    world.server.delete(TRAINING_JOBS, NAME)
    world.create_job(spec)
    world.restart()
    world.settle()
    assert {name[-2:] for name in names(world) if name != "job-node-0-a0"} == {"a1"}
    assert condition(world, "Created")["status"] == "False"


def test_ghosts_of_a_predecessor_are_deleted_by_force(world: World) -> None:
    begin(world)
    run(world, "node-a")
    world.lose_node("node-a")
    _again(world)
    world.server.collect_garbage()
    world.settle()
    for _ in range(4):
        if len([p for p in world.pods if not p["metadata"].get("deletionTimestamp")]) == 2:
            break
        to_next_due(world)
    uid = world.job["metadata"]["uid"]  # type: ignore[index]
    assert {p["metadata"]["ownerReferences"][0]["uid"] for p in world.pods} == {uid}


def test_a_predecessors_config_map_is_waited_for_and_not_adopted(world: World) -> None:
    begin(world)
    old = world.job["metadata"]["uid"]  # type: ignore[index]
    _again(world)
    for name in names(world):
        world.server.delete(PODS, name)
    world.settle()
    assert "deleted job of the same name" in condition(world, "Ready")["message"]
    world.server.collect_garbage()
    to_next_due(world)
    assert world.server.get(CONFIGMAPS, "job-job")["metadata"]["ownerReferences"][0]["uid"] != old
    assert len(names(world)) == 2


def test_a_managed_job_is_left_alone(world: World) -> None:
    begin(world, runPolicy={"managedBy": "kueue.x-k8s.io/multikueue"})
    assert world.process.kube.writes == 0


def test_an_invalid_spec_touches_nothing_and_says_what_is_wrong(world: World) -> None:
    begin(world)
    run(world)
    world.edit(("trainer",), {})
    world.settle()
    assert condition(world, "Stalled")["reason"] == "InvalidSpec"
    assert len(world.alive()) == 2
    writes = world.process.kube.writes
    world.restart()
    world.settle()
    assert world.process.kube.writes == 0 < writes
