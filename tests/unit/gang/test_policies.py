"""The policies: rules, budget, deadlines, time to live, clean-up; each a pure function with its edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.api.common.types import CleanPodPolicy, FailurePolicy, RunPolicy
from slipway.gang.policy import deadlines, ttl
from slipway.gang.policy.restart import restart_or_fail
from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import Failure, PodState, observe_pod
from slipway.reconcile.run_state import RunState, read_run
from slipway.reconcile.status import StatusDraft
from slipway.runtime import conditions
from tests.unit.reconcile.pods import deleted, ended, pod, running

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def failure(code: int | None = 1, reason: str = "Error", pod_conditions: tuple[str, ...] = ()) -> Failure:
    return Failure("p", "n", "trainer", code, "", reason, "words", NOW, pod_conditions)


def judged(policy: dict[str, Any], what: Failure, status: dict[str, Any] | None = None) -> dict[str, Any]:
    draft = StatusDraft(status or {}, 1, NOW)
    return restart_or_fail(FailurePolicy.model_validate(policy), what, draft).done()


def failed(status: dict[str, Any]) -> str | None:
    found = conditions.get(status["conditions"], "Failed")
    return found["reason"] if found else None


FAIL_3 = {"action": "FailJob", "onExitCodes": {"values": [3]}}
BOTH = {"action": "FailJob", "onReasons": ["OOMKilled"], "onExitCodes": {"values": [1]}}
IGNORE_PREEMPTION = {"action": "RestartIgnoreMaxRestarts", "onPodConditions": ["DisruptionTarget"]}


def test_without_rules_a_failure_costs_one_restart() -> None:
    status = judged({"maxRestarts": 3}, failure())
    assert (status["restartCount"], status["restartCountTowardsMax"], status["attempt"]) == (1, 1, 1)
    assert status["lastFailure"]["attempt"] == 0


@pytest.mark.parametrize(
    ("rule", "what", "ends"),
    [
        (FAIL_3, failure(3), True),
        (FAIL_3, failure(4), False),
        (FAIL_3, failure(None, "Evicted"), False),
        ({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [3]}}, failure(4), True),
        ({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [3]}}, failure(3), False),
        ({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [3]}}, failure(None), False),
        ({"action": "FailJob", "onReasons": ["OOMKilled"]}, failure(137, "OOMKilled"), True),
        ({"action": "FailJob", "onReasons": ["OOMKilled"]}, failure(137), False),
        (BOTH, failure(137, "OOMKilled"), False),
        (BOTH, failure(1, "OOMKilled"), True),
        (
            {"action": "FailJob", "onPodConditions": ["DisruptionTarget"]},
            failure(1, "Error", ("DisruptionTarget",)),
            True,
        ),
    ],
)
def test_a_rule_matches_when_all_its_criteria_do(rule: dict[str, Any], what: Failure, ends: bool) -> None:
    assert (failed(judged({"rules": [rule]}, what)) == "FailureRule") == ends


def test_the_first_rule_that_matches_decides() -> None:
    restart_3 = {"action": "Restart", "onExitCodes": {"values": [3]}}
    assert failed(judged({"rules": [restart_3, FAIL_3]}, failure(3))) is None
    assert failed(judged({"rules": [FAIL_3, restart_3]}, failure(3))) == "FailureRule"


def test_the_budget_is_used_up_exactly() -> None:
    status: dict[str, Any] = {}
    for expected in (1, 2):
        status = judged({"maxRestarts": 2}, failure(), status)
        assert status["restartCountTowardsMax"] == expected
    status = judged({"maxRestarts": 2}, failure(), status)
    assert failed(status) == "MaxRestartsExceeded"
    assert (status["restartCount"], status["restartCountTowardsMax"]) == (2, 2)
    assert status["completionTime"] == at(0)


def test_preemption_costs_no_budget() -> None:
    status: dict[str, Any] = {}
    preempted = failure(None, "Preempted", ("DisruptionTarget",))
    for _ in range(5):
        status = judged({"maxRestarts": 0, "rules": [IGNORE_PREEMPTION]}, preempted, status)
    assert (status["restartCount"], status.get("restartCountTowardsMax"), failed(status)) == (5, 0, None)


def run_of(**status: Any) -> RunState:
    return read_run(status)


def since(seconds: float, status: str = "True") -> dict[str, Any]:
    """That all pods have been running since then, or have not been."""
    mark = {"type": "Running", "status": status, "lastTransitionTime": at(seconds)}
    return {"runningTime": at(seconds), "conditions": [mark]}


def test_active_time_adds_up_over_attempts() -> None:
    policy = RunPolicy.model_validate({"activeDeadlineSeconds": 100})
    assert deadlines.active_seconds_left(policy, run_of(), NOW) is None
    assert deadlines.active_seconds_left(policy, run_of(**since(-30)), NOW) == 70
    assert deadlines.active_seconds_left(policy, run_of(**since(-30), activeSeconds=60), NOW) == 10
    assert deadlines.active_seconds_left(policy, run_of(**since(-30, "False"), activeSeconds=60), NOW) is None
    assert deadlines.active_seconds_left(RunPolicy(), run_of(**since(-30)), NOW) is None


def test_start_up_counts_from_the_first_request_even_if_it_was_refused() -> None:
    policy = RunPolicy.model_validate({"startupDeadlineSeconds": 60})
    refused = [{"type": "Created", "status": "False", "lastTransitionTime": at(-20)}]
    assert deadlines.startup_seconds_left(policy, run_of(), NOW) is None
    assert deadlines.startup_seconds_left(policy, run_of(attemptTime=at(-50)), NOW) == 10
    assert deadlines.startup_seconds_left(policy, run_of(conditions=refused), NOW) == 40
    assert deadlines.startup_seconds_left(policy, run_of(attemptTime=at(-50), runningTime=at(-1)), NOW) is None


def test_a_refusal_is_retried_ever_more_rarely() -> None:
    lasted = [{"type": "Created", "status": "False", "lastTransitionTime": at(-age)} for age in (0, 1, 10, 40, 9999)]
    pauses = [deadlines.retry_refused_in(run_of(conditions=[mark]), NOW) for mark in lasted]
    assert pauses == [1, 1, 5, 20, 30]


@pytest.mark.parametrize("end", ["Succeeded", "Failed"])
def test_time_to_live_counts_from_every_end(end: str) -> None:
    draft = StatusDraft({}, 1, NOW)
    status = (draft.succeed("done") if end == "Succeeded" else draft.fail("DeadlineExceeded", "late")).done()
    assert conditions.is_true(status["conditions"], end)
    policy = RunPolicy.model_validate({"ttlSecondsAfterFinished": 50})
    assert ttl.seconds_to_live(policy, read_run(status), NOW + timedelta(seconds=20)) == 30
    assert ttl.seconds_to_live(RunPolicy(), read_run(status), NOW) is None
    assert ttl.seconds_to_live(RunPolicy.model_validate({"ttlSecondsAfterFinished": 0}), read_run(status), NOW) == 0


def states(*bodies: dict[str, Any]) -> list[PodState]:
    return [observe_pod(body, NOW) for body in bodies]


@pytest.mark.parametrize(
    ("policy", "gone"),
    [(CleanPodPolicy.NONE, []), (CleanPodPolicy.RUNNING, ["r"]), (CleanPodPolicy.ALL, ["r", "s", "f"])],
)
def test_what_is_cleaned_up_after_the_end(policy: CleanPodPolicy, gone: list[str]) -> None:
    pods = states(pod("r", **running()), pod("s", **ended(0)), pod("f", **ended(1)))
    assert [delete.name for delete in cleanup.after_finish(policy, pods, 10, NOW).deletes] == gone


def test_a_delete_is_asked_for_once_and_forced_when_overdue() -> None:
    going = deleted(pod("g", **running()), at=at(0))
    for seconds, force, wait in ((-30, [], 40), (0, [], 10), (9, [], 1), (10, [True], 1), (500, [True], 1)):
        found = cleanup.clean(
            [observe_pod(going, NOW + timedelta(seconds=seconds))], 10, NOW + timedelta(seconds=seconds)
        )
        assert [delete.force for delete in found.deletes] == force
        assert found.wait == wait


def test_a_delete_always_asks_for_a_second_look() -> None:
    """Its own echo wakes nobody, and a node that is lost says nothing more."""
    found = cleanup.clean(states(pod("p", **running())), 60, NOW)
    assert (len(found.deletes), found.wait) == (1, 60)
    assert cleanup.clean(states(pod("p", **running())), 0, NOW).wait == 1


def test_replaced_pods_go_but_for_the_pod_that_failed_last() -> None:
    pods = states(
        pod("a0", attempt=0, **ended(1)),
        pod("b0", attempt=0, **ended(1)),
        pod("c0", attempt=0, **running()),
        pod("a1", attempt=1, **running()),
    )
    found = cleanup.replaced([pod for pod in pods if pod.attempt < 1], "a0", 10, NOW)
    assert [delete.name for delete in found.deletes] == ["b0", "c0"]
    assert cleanup.in_the_way(pods, 1)
    assert not cleanup.in_the_way(pods[:2], 1)
    assert not cleanup.in_the_way(states(pod("a2", attempt=2, **running())), 1)
