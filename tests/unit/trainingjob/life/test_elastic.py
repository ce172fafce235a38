"""Elastic jobs, hangs and success policies, told with the real operator on a simulated server."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime import conditions
from slipway.runtime.client.resource import PODS, Object
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_server import CrashError
from tests.unit.trainingjob.sim_world import KEY, Process, World
from tests.unit.trainingjob.steps import condition, fail, free_killed, names, run, status, to_next_change, to_next_due


def begin(world: World, nodes: int = 3, **spec: Any) -> None:
    """An elastic job of one to four nodes whose pods run."""
    world.create_job(
        {
            "numNodes": nodes,
            "elasticPolicy": {"minNodes": 1, "maxNodes": 4},
            "trainer": {"command": ["train"]},
            "failurePolicy": {"maxRestarts": 3, "nodeLostGraceSeconds": 10} | spec.pop("failurePolicy", {}),
            **spec,
        }
    )
    world.settle()
    run(world)


def live(world: World) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in world.alive())


def elastic(world: World) -> Object:
    found: Object = status(world)["elastic"]
    return found


def test_a_lost_node_is_replaced_alone_and_the_others_go_on(world: World) -> None:
    begin(world)
    untouched = {p["metadata"]["uid"] for p in world.pods if p["metadata"]["name"] != "job-node-1-a0"}
    fail(world, "job-node-1-a0", 137)
    assert live(world) == ["job-node-0-a0", "job-node-2-a0", "job-node-3-a0"]
    assert untouched <= {p["metadata"]["uid"] for p in world.alive()}
    assert (status(world)["restartCount"], status(world).get("attempt", 0)) == (1, 0)
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"
    assert elastic(world) == {"indices": [0, 2, 3], "next": 4}
    assert ("NodeReplaced", 1) in [(reason, 1) for _, reason in world.notices]


def test_with_fewer_nodes_than_asked_for_it_goes_on_and_grows_when_there_is_room(world: World) -> None:
    begin(world)
    fail(world, "job-node-2-a0")
    assert condition(world, "Running")["status"] == "True", "two of three nodes train on"
    assert condition(world, "Running")["message"] == "2 of 3 pods are running"
    run(world, "node-b")
    assert condition(world, "Running")["message"] == "all pods are running"
    assert status(world)["restartCount"] == 1


def test_below_the_least_it_waits_and_says_so(world: World) -> None:
    begin(world, elasticPolicy={"minNodes": 3, "maxNodes": 4})
    fail(world, "job-node-2-a0")
    assert condition(world, "Running")["status"] == "False"
    run(world)
    assert condition(world, "Running")["status"] == "True"


def test_node_0_keeps_the_rendezvous_so_its_loss_restarts_the_gang(world: World) -> None:
    begin(world)
    fail(world, "job-node-1-a0")
    fail(world, "job-node-0-a0")
    free_killed(world)
    assert (status(world)["attempt"], status(world)["restartCount"]) == (1, 2)
    assert live(world) == ["job-node-0-a1", "job-node-1-a1", "job-node-2-a1"]


def test_restart_scope_job_restarts_all(world: World) -> None:
    begin(world, failurePolicy={"restartScope": "Job"})
    fail(world, "job-node-1-a0")
    free_killed(world)
    assert live(world) == ["job-node-0-a1", "job-node-1-a1", "job-node-2-a1"]


def test_the_budget_counts_replaced_nodes(world: World) -> None:
    begin(world, failurePolicy={"maxRestarts": 1})
    fail(world, "job-node-1-a0")
    run(world)
    fail(world, "job-node-2-a0")
    assert condition(world, "Failed")["reason"] == "MaxRestartsExceeded"


def test_a_watch_that_lags_replaces_no_healthy_node(world: World) -> None:
    """Two operators, and the second one has heard of one pod only."""
    second = Process(world.server, world.clock, world.notices)
    begin(world)
    second.deliver(TRAINING_JOBS)
    second.deliver(PODS, 1)
    while world.loop.run_until_complete(second.work()):
        pass
    assert elastic(world) == {"indices": [0, 1, 2], "next": 3}
    assert "lastFailure" not in status(world)
    assert len(live(world)) == 3


def test_a_rule_decides_about_a_lost_node_too(world: World) -> None:
    rules = [
        {"action": "RestartIgnoreMaxRestarts", "onExitCodes": {"values": [143]}},
        {"action": "FailJob", "onExitCodes": {"values": [3]}},
    ]
    begin(world, failurePolicy={"maxRestarts": 1, "rules": rules})
    fail(world, "job-node-1-a0", 143)
    assert (status(world)["restartCount"], status(world)["restartCountTowardsMax"]) == (1, 0)
    assert live(world) == ["job-node-0-a0", "job-node-2-a0", "job-node-3-a0"]
    fail(world, "job-node-2-a0", 3)
    assert condition(world, "Failed")["reason"] == "FailureRule"


def test_a_disrupted_node_is_replaced_without_a_restart_of_the_budget(world: World) -> None:
    """It was counted here a second time, by a rule of its own."""
    begin(world, failurePolicy={"maxRestarts": 0, "maxDisruptions": 2})
    for lost in (1, 2):
        world.server.delete(PODS, f"job-node-{lost}-a0")
        world.settle()
        free_killed(world)
        run(world)
    assert (status(world)["restartCountTowardsMax"], status(world)["disruptionCount"]) == (0, 2)
    assert (status(world).get("attempt", 0), len(live(world))) == (0, 3)
    world.server.delete(PODS, "job-node-3-a0")
    world.settle()
    assert condition(world, "Failed")["reason"] == "MaxDisruptionsExceeded"


def test_scaling_up_and_down_by_an_edit(world: World) -> None:
    begin(world, nodes=2)
    world.edit(("numNodes",), 4)
    world.settle()
    assert live(world) == [f"job-node-{i}-a0" for i in range(4)]
    assert status(world)["nodes"] == 4
    run(world)
    world.edit(("numNodes",), 1)
    world.settle()
    free_killed(world)
    assert live(world) == ["job-node-0-a0"]
    assert status(world).get("restartCount", 0) == 0
    assert conditions.get(status(world)["conditions"], "Stalled") is None
    world.edit(("numNodes",), 2)
    world.settle()
    assert live(world) == ["job-node-0-a0", "job-node-4-a0"], "a number is not used twice"


@pytest.mark.parametrize("write", range(1, 8))
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_crash_at_any_write_of_a_replacement_changes_nothing(world: World, write: int, first: bool) -> None:
    begin(world)
    world.process.kube.crash_at = world.process.kube.writes + write
    world.process.kube.crash_first = first
    fail(world, "job-node-1-a0")
    for _ in range(3):
        world.settle()
        world.relist()
    assert live(world) == ["job-node-0-a0", "job-node-2-a0", "job-node-3-a0"]
    assert status(world)["restartCount"] == 1
    born = [p["metadata"]["name"] for p in world.server.born if p.get("kind") == "Pod"]
    assert len(born) == len(set(born)) == 4


def test_a_node_that_fails_before_the_status_knows_of_it_is_counted_once(world: World) -> None:
    """Found by tests/chaos: the operator died before it wrote that all pods had been created."""
    world.create_job({"numNodes": 3, "elasticPolicy": {"maxNodes": 4}, "trainer": {"command": ["train"]}})
    world.process.deliver(TRAINING_JOBS)
    world.process.kube.crash_at, world.process.kube.crash_first = 6, True
    with pytest.raises(CrashError):
        world.loop.run_until_complete(world.process.work())
    assert "attemptTime" not in status(world)
    for pod in world.pods:
        world.start_pod(pod, "node-a")
    world.end_pod(world.server.get(PODS, "job-node-2-a0"), 3)
    world.restart()
    world.settle()
    assert live(world) == ["job-node-0-a0", "job-node-1-a0", "job-node-3-a0"]
    assert status(world)["restartCount"] == 1
    assert elastic(world) == {"indices": [0, 1, 3], "next": 4}


def test_success_when_a_replacement_never_found_a_place(world: World) -> None:
    begin(world)
    fail(world, "job-node-2-a0")
    for name in ("job-node-0-a0", "job-node-1-a0"):
        world.end_pod(world.server.get(PODS, name), 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    assert live(world) == []


def test_suspending_and_resuming_starts_from_number_0(world: World) -> None:
    begin(world)
    fail(world, "job-node-1-a0")
    world.edit(("runPolicy", "suspend"), True)
    world.settle()
    free_killed(world)
    assert elastic(world) == {"indices": [0, 1, 2], "next": 3}
    world.edit(("numNodes",), 2)
    world.settle()
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    born = [p["metadata"]["name"] for p in world.server.born if p["metadata"]["name"].endswith("a1")]
    assert live(world) == born == ["job-node-0-a1", "job-node-1-a1"]


def plain(world: World, **spec: Any) -> None:
    world.create_job({"numNodes": 2, "trainer": {"command": ["train"]}, **spec})
    world.settle()
    run(world)


def test_a_hang_restarts_the_gang_at_the_deadline(world: World) -> None:
    plain(world, failurePolicy={"progressDeadlineSeconds": 100})
    to_next_change(world)
    assert world.clock.seconds == 100
    assert status(world)["lastFailure"]["reason"] == "Hang"
    assert (status(world)["attempt"], status(world)["restartCount"]) == (1, 1)


def test_nodes_that_wait_for_a_peer_neither_hang_nor_use_their_time_up(world: World) -> None:
    """The operator span on a deadline that had passed, and took the wait for a hang once the peer was there."""
    deadlines = {"failurePolicy": {"progressDeadlineSeconds": 100}, "runPolicy": {"activeDeadlineSeconds": 400}}
    begin(world, elasticPolicy={"minNodes": 3, "maxNodes": 4}, **deadlines)
    world.clock.seconds = 97
    fail(world, "job-node-2-a0")
    assert status(world)["lastFailure"]["reason"] == "Error", "the others are silent because they wait for it"
    assert status(world)["activeSeconds"] == 100
    for seconds in (1000, 2000):
        world.clock.seconds = seconds
        world.process.queue.mark(KEY)
        world.settle()
        assert condition(world, "Running")["status"] == "False"
    run(world)
    assert (condition(world, "Running")["status"], status(world)["restartCount"]) == ("True", 1)
    to_next_due(world)  # the look for what events say of pods that waited
    to_next_due(world)
    assert (round(world.clock.seconds), status(world)["lastFailure"]["reason"]) == (2100, "Hang")
    assert status(world)["activeSeconds"] == 200


def test_while_the_operator_was_away_nobody_could_report(world: World) -> None:
    plain(world, failurePolicy={"progressDeadlineSeconds": 100})
    world.clock.seconds = 500
    world.restart()
    world.settle()
    assert "restartCount" not in status(world)
    to_next_due(world)
    assert world.clock.seconds == 600
    assert status(world)["restartCount"] == 1


def test_rank_0_is_enough_when_asked_for(world: World) -> None:
    plain(world, successPolicy="Rank0")
    world.end_pod(world.server.get(PODS, "job-node-0-a0"), 0)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"
    free_killed(world)
    assert names(world) == ["job-node-0-a0"], "the others are ended"
