"""What pods report reaches the status soon, rarely, and without reviving or keeping alive what is not running."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slipway.reconcile import execute
from slipway.runtime.client.resource import PODS, uid_of
from tests.unit.trainingjob.sim_world import KEY, World
from tests.unit.trainingjob.steps import begin, run, status, to_next_due


def post(world: World, percent: int) -> None:
    """The newest report is kept, and marks the job."""
    assert world.job is not None
    moment = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.process.posted[uid_of(world.job)] = {"percent": percent, "lastUpdatedTime": moment}
    world.process.queue.mark(KEY)
    world.settle()


@pytest.fixture
def begun(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: world.clock.seconds))
    begin(world, failurePolicy={"progressDeadlineSeconds": 100})
    return world


@pytest.fixture
def running(begun: World) -> World:
    run(begun)
    return begun


def test_reports_cost_a_write_every_few_seconds_and_the_last_one_is_shown(running: World) -> None:
    writes = running.process.kube.writes
    for percent in range(1, 61):
        running.clock.seconds += 0.5
        post(running, percent)
    assert running.process.kube.writes - writes <= 30 / execute.SOFT_SECONDS
    to_next_due(running)
    assert status(running)["progress"]["percent"] == 60


def test_what_is_no_report_is_not_delayed(running: World) -> None:
    running.clock.seconds += 0.5
    post(running, 1)
    running.end_pod(running.server.get(PODS, "job-node-0-a0"), 137)
    running.settle()
    assert status(running)["restartCount"] == 1
    assert status(running)["progress"]["percent"] == 1


def test_a_report_puts_the_hang_off_and_a_success_completes_it(running: World) -> None:
    for second in (90, 180, 270):
        running.clock.seconds = second
        post(running, second // 10)
    assert "restartCount" not in status(running)
    for pod in running.pods:
        running.end_pod(pod, 0)
    running.settle()
    assert status(running)["progress"].items() >= {"percent": 100, "estimatedRemainingSeconds": 0}.items()


def later(world: World) -> None:
    """Soft fields are written again."""
    world.clock.seconds += 10
    world.process.queue.mark(KEY)
    world.settle()


def test_pods_that_start_one_by_one_cost_no_write_each(begun: World) -> None:
    writes = begun.process.kube.writes
    begun.start_pod(begun.server.get(PODS, "job-node-0-a0"), "node-a")
    begun.settle()
    assert begun.process.kube.writes == writes
    run(begun)
    assert begun.process.kube.writes == writes + 1


def test_a_pod_that_flaps_is_counted_and_tells_nothing_new(running: World) -> None:
    for ready in ("False", "True", "False"):
        pod = running.server.get(PODS, "job-node-0-a0")
        running.server.store(
            PODS, pod | {"status": pod["status"] | {"conditions": [{"type": "Ready", "status": ready}]}}
        )
        later(running)
        assert status(running)["replicaStatuses"]["ready"] == 1 + (ready == "True")
    assert [reason for _, reason in running.notices] == ["AllPodsRunning"]


def test_an_obstacle_is_told_once_however_many_pods_start_meanwhile(begun: World) -> None:
    waiting = {"name": "trainer", "state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}}
    pod = begun.server.get(PODS, "job-node-0-a0")
    begun.server.store(PODS, pod | {"status": {"phase": "Pending", "containerStatuses": [waiting]}})
    later(begun)
    begun.start_pod(begun.server.get(PODS, "job-node-1-a0"), "node-a")
    later(begun)
    assert status(begun)["replicaStatuses"]["ready"] == 1
    assert [reason for _, reason in begun.notices] == ["ImagePullError"]
