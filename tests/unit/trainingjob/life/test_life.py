"""One story per bug that the state machine or a review found, told with the real operator on a simulated server."""

from __future__ import annotations

import pytest

from slipway.runtime import conditions
from slipway.runtime.client.errors import Forbidden
from slipway.runtime.client.resource import PODS, SERVICES
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import Process, World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status, to_next_due


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
    assert condition(world, "Restarting")["status"] == "True"
    run(world)
    assert (condition(world, "Restarting")["status"], condition(world, "Running")["status"]) == ("False", "True")


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


def test_a_delete_that_is_refused_after_the_end_leaves_the_end_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise Forbidden(403, "Forbidden", "admission webhook denied the request")

    begin(world, runPolicy={"cleanPodPolicy": "All"})
    run(world)
    for pod in world.pods:
        world.end_pod(pod, 0)
    with monkeypatch.context() as patched:
        patched.setattr(world.process.kube, "delete", refuse)
        world.settle()
        assert (condition(world, "Succeeded")["status"], condition(world, "Ready")["status"]) == ("True", "True")
        assert len(world.pods) == 2
    to_next_due(world)
    assert names(world) == []


def test_a_restart_is_persisted_before_a_pod_is_touched(world: World) -> None:
    """Else an operator that dies between the two would take the decision twice, or forget what failed."""
    begin(world)
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), 137)
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
    assert world.server.get(PODS, "job-node-0-a0")["metadata"]["deletionTimestamp"]
    assert "restartCount" not in status(world), "it still runs"
    free_killed(world)
    world.server.objects.pop((PODS.plural, "job-node-0-a0"), None)
    to_next_due(world)
    assert status(world)["restartCount"] == 1


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
