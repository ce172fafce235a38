"""Whom lastFailure names when pods went while nobody looked: the one that was deleted, not those that died of it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime.client.resource import PODS
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import Process, World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status, to_next_due

# Seconds for which a gang whose pod failed for no reason of its own is left as it is: others may be about to tell it.
WAITED = 3


def while_away(world: World, code: int, reason: str = "", **spec: Any) -> dict[str, Any]:
    """Node 0 is deleted, node 1 ends a little later, and only then the operator comes back; returns lastFailure."""
    begin(world, **spec)
    run(world)
    world.server.delete(PODS, "job-node-0-a0", grace=0)
    world.clock.seconds += 5
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), code, reason)
    ended = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.clock.seconds += 30
    world.restart()
    world.settle()
    assert status(world)["restartCount"] == 1
    assert status(world)["lastFailure"]["time"] == ended
    failure: dict[str, Any] = status(world)["lastFailure"]
    return failure


@pytest.mark.parametrize("code", [1, 134, 143])
def test_a_pod_deleted_unseen_is_named_and_not_the_peer_that_died_of_it(world: World, code: int) -> None:
    """The status blamed node 1 for its SIGTERM, and nothing said that somebody had deleted node 0."""
    failure = while_away(world, code)
    assert (failure["pod"], failure["reason"]) == ("job-node-0-a0", "PodDeleted")
    assert "exitCode" not in failure
    assert f"pod job-node-1-a0 on node node-a: Error{', ' if code > 1 else ''}" in failure["message"]
    assert "job-node-0-a0: PodDeleted" in condition(world, "Restarting")["message"]
    free_killed(world)
    assert names(world) == ["job-node-0-a1", "job-node-1-a1"]


@pytest.mark.parametrize(("code", "reason"), [(137, ""), (137, "OOMKilled"), (139, "")])
def test_what_no_missing_peer_can_cause_is_the_cause_itself(world: World, code: int, reason: str) -> None:
    failure = while_away(world, code, reason)
    assert (failure["pod"], failure["exitCode"]) == ("job-node-1-a0", code)


def test_an_exit_code_that_a_rule_names_is_judged_by_the_rule(world: World) -> None:
    """The user said what 3 means: that a pod is missing, too, must not turn the end into a restart."""
    rules = [{"action": "RestartIgnoreMaxRestarts", "onExitCodes": {"values": [3]}}]
    failure = while_away(world, 3, failurePolicy={"rules": rules})
    assert (failure["pod"], failure["exitCode"]) == ("job-node-1-a0", 3)
    assert "restartCountTowardsMax" not in status(world) or status(world)["restartCountTowardsMax"] == 0


def test_a_cache_that_misses_a_pod_does_not_make_it_a_deleted_one(world: World) -> None:
    """The server is asked before anybody is said to have deleted node 0."""
    second = Process(world.server, world.clock, world.notices)
    begin(world)
    run(world)
    world.end_pod(world.server.get(PODS, "job-node-1-a0"), 1)
    world.clock.seconds += 3
    second.deliver(TRAINING_JOBS)
    for event, pod in world.server.events[PODS.plural]:
        if pod["metadata"]["name"] == "job-node-1-a0":
            second.cache.observe(PODS, event, pod)
    while world.loop.run_until_complete(second.work()):
        pass
    assert status(world)["lastFailure"].items() >= {"pod": "job-node-1-a0", "exitCode": 1}.items()


def test_several_pods_gone_and_none_failed(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    for index in (1, 2):
        world.server.delete(PODS, f"job-node-{index}-a0", grace=0)
    world.restart()
    world.settle()
    assert status(world)["lastFailure"].items() >= {"pod": "job-node-1-a0", "reason": "PodDeleted"}.items()
    assert status(world)["restartCount"] == 1


def ends(world: World, index: int, code: int, reason: str = "", ago: float = 0) -> None:
    """A pod of the first attempt, and the operator hears of it."""
    world.end_pod(world.server.get(PODS, f"job-node-{index}-a0"), code, reason, ago)
    world.settle()


def untouched(world: World) -> bool:
    """Nothing was decided yet, and no pod was asked to go."""
    going = [pod for pod in world.pods if pod["metadata"].get("deletionTimestamp")]
    return not going and "restartCount" not in status(world)


@pytest.mark.parametrize("code", [1, 134, 143])
def test_the_failure_that_is_judged_is_the_cause_told_a_moment_later(world: World, code: int) -> None:
    """A kubelet of 1.20 that is asked to delete a pod before it has seen its container's end forgets how it ended: the
    peer was blamed for good, and the rule for kills was never asked.
    """
    rules = [{"action": "RestartIgnoreMaxRestarts", "onExitCodes": {"values": [137]}}]
    begin(world, failurePolicy={"rules": rules})
    run(world)
    ends(world, 1, code)
    assert untouched(world)
    world.clock.seconds += 2
    ends(world, 0, 137, ago=2)
    assert status(world)["lastFailure"].items() >= {"pod": "job-node-0-a0", "exitCode": 137, "attempt": 0}.items()
    assert (status(world)["restartCount"], status(world).get("restartCountTowardsMax", 0)) == (1, 0)


def test_the_wait_for_other_ends_is_over_by_itself(world: World) -> None:
    begin(world)
    run(world)
    ends(world, 1, 1)
    assert untouched(world)
    to_next_due(world)
    assert world.clock.seconds == WAITED
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"
    free_killed(world)
    assert names(world)[:1] == ["job-node-0-a1"]


def test_among_equals_the_one_that_ended_first_is_blamed_however_late_it_is_told(world: World) -> None:
    """An exception on one node ends the others by exit code 1 as well."""
    begin(world)
    run(world)
    world.clock.seconds += 10
    ends(world, 1, 1)
    ends(world, 0, 1, ago=5)
    assert status(world)["lastFailure"]["pod"] == "job-node-0-a0"


@pytest.mark.parametrize(
    ("code", "reason", "ago", "rules"),
    [
        (137, "", 0, []),
        (137, "OOMKilled", 0, []),
        (1, "", WAITED, []),
        (1, "", -60, []),
        (3, "", 0, [{"action": "RestartIgnoreMaxRestarts", "onExitCodes": {"values": [3]}}]),
    ],
    ids=["a kill", "out of memory", "heard of late", "a node's clock that is ahead", "a rule names it"],
)
def test_nothing_is_waited_for_when_it_cannot_have_come_of_another(
    world: World, code: int, reason: str, ago: float, rules: list[dict[str, Any]]
) -> None:
    begin(world, failurePolicy={"rules": rules})
    run(world)
    ends(world, 1, code, reason, ago)
    assert status(world)["restartCount"] == 1
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"


@pytest.mark.parametrize("begun", [True, False], ids=["it has succeeded", "it has not begun"])
def test_nothing_is_waited_for_when_nobody_else_runs(world: World, begun: bool) -> None:
    begin(world)
    if begun:
        run(world)
        world.end_pod(world.server.get(PODS, "job-node-0-a0"), 0)
    ends(world, 1, 1)
    assert status(world)["restartCount"] == 1


def heard_after_its_peer(world: World, code: int, reason: str = "", late: int = 0, **spec: Any) -> dict[str, Any]:
    """Node 1 ends by exit code 1, and the gang is being replaced when node 0's end is reported; returns lastFailure."""
    begin(world, **spec)
    run(world)
    fail(world, "job-node-1-a0", 1)
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"
    world.clock.seconds += late
    world.end_pod(world.server.get(PODS, "job-node-0-a0"), code, reason, ago=0 if late else WAITED)
    world.settle()
    assert (status(world)["restartCount"], status(world)["attempt"]) == (1, 1)
    free_killed(world)
    failure: dict[str, Any] = status(world)["lastFailure"]
    return failure


@pytest.mark.parametrize(("code", "reason"), [(137, ""), (137, "OOMKilled"), (139, "OOMKilled")])
def test_the_cause_is_named_although_its_consequence_was_heard_of_first(world: World, code: int, reason: str) -> None:
    """The status blamed the peer that died of the kill (exit code 1): a busy kubelet had told its end first."""
    failure = heard_after_its_peer(world, code, reason)
    assert failure.items() >= {"pod": "job-node-0-a0", "exitCode": code, "attempt": 0}.items()
    assert names(world)[:1] == ["job-node-0-a1"]


def test_a_cause_told_by_a_clock_that_goes_before_its_consequences_is_one_within_a_second(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-1-a0", 1)
    assert status(world)["lastFailure"]["time"] == "2026-11-01T12:00:00Z"
    world.end_pod(world.server.get(PODS, "job-node-0-a0"), 137, ago=WAITED - 1)
    world.settle()
    assert status(world)["lastFailure"].items() >= {"pod": "job-node-0-a0", "time": "2026-11-01T12:00:01Z"}.items()


def test_the_cause_is_named_although_its_pod_was_gone_with_the_event_that_told_its_end(world: World) -> None:
    """A kubelet told of the kill and removed the pod at once; kopf hands out only the newest of a tenth of a second.

    Seen with mpirun: the status kept naming the launcher, which had died of it.
    """
    begin(world)
    run(world)
    fail(world, "job-node-1-a0", 1)
    killed_and_gone_at_once(world, "job-node-0-a0")
    world.settle()
    expected = {"pod": "job-node-0-a0", "exitCode": 137, "signal": "SIGKILL", "attempt": 0}
    assert status(world)["lastFailure"].items() >= expected.items()
    free_killed(world)
    assert status(world)["lastFailure"].items() >= expected.items()
    assert (status(world)["restartCount"], names(world)[:1]) == (1, ["job-node-0-a1"])


@pytest.mark.parametrize("gone", [False, True], ids=["its pod is there", "its pod is gone"])
def test_a_job_that_failed_for_a_consequence_says_of_what_it_came(world: World, gone: bool) -> None:
    """The budget was used up by the peer that died of it, and nothing said that node 0 had run out of memory."""
    begin(world, failurePolicy={"maxRestarts": 0})
    run(world)
    fail(world, "job-node-1-a0", 1)
    before = condition(world, "Failed")
    assert before["reason"] == "MaxRestartsExceeded"
    if gone:
        killed_and_gone_at_once(world, "job-node-0-a0")
    else:
        world.end_pod(world.server.get(PODS, "job-node-0-a0"), 137, "OOMKilled", ago=WAITED)
    world.settle()
    assert status(world)["lastFailure"].items() >= {"pod": "job-node-0-a0", "exitCode": 137, "attempt": 0}.items()
    why = f"pod job-node-0-a0 on node node-a: {'Error' if gone else 'OOMKilled'}, SIGKILL, exit code 137"
    for kind in ("Failed", "Stalled", "Ready", "Running"):
        assert condition(world, kind)["message"] == f"{before['message']}; it came of {why}"
    assert {**condition(world, "Failed"), "message": ""} == {**before, "message": ""}
    written = len(world.server.status_history)
    world.restart()
    world.settle()
    assert len(world.server.status_history) == written, "said once"


def test_an_end_told_with_the_pods_removal_waits_for_a_reconcile_that_can_write(world: World) -> None:
    begin(world)
    run(world)
    fail(world, "job-node-1-a0", 1)
    killed_and_gone_at_once(world, "job-node-0-a0")
    world.process.kube.fail_next = False
    world.settle()
    assert status(world)["lastFailure"]["pod"] == "job-node-1-a0"
    to_next_due(world)
    assert status(world)["lastFailure"]["pod"] == "job-node-0-a0"


def killed_and_gone_at_once(world: World, name: str) -> None:
    """Its kubelet tells of a SIGKILL and removes the pod; of the two events only the last arrives."""
    world.end_pod(world.server.get(PODS, name), 137, ago=WAITED)
    world.server.events[PODS.plural].pop()
    world.server.remove(PODS, name)


@pytest.mark.parametrize(
    ("code", "late"), [(1, 0), (143, 0), (134, 0), (137, 30)], ids=["error", "SIGTERM", "SIGABRT", "killed afterwards"]
)
def test_what_may_come_of_the_replacement_is_no_cause(world: World, code: int, late: int) -> None:
    assert heard_after_its_peer(world, code, late=late)["pod"] == "job-node-1-a0"


def test_a_failure_that_a_rule_names_stays_the_one_that_was_judged(world: World) -> None:
    rules = [{"action": "RestartIgnoreMaxRestarts", "onExitCodes": {"values": [1]}}]
    assert heard_after_its_peer(world, 137, failurePolicy={"rules": rules})["pod"] == "job-node-1-a0"
