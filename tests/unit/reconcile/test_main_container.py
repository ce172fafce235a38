"""A container that a webhook puts into a pod: the pod is judged by the one that the operator made, alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.types import (
    CleanPodPolicy,
    ExitCodeOperator,
    FailurePolicy,
    FailureRule,
    OnExitCodes,
    Reason,
    RuleAction,
)
from slipway.gang.policy.failure import matching_action
from slipway.gang.policy.restart import restart_or_fail
from slipway.inferenceservice.engine_build import CONTAINER as BUILD
from slipway.inferenceservice.service import SERVER
from slipway.quantizationjob.pods import CONTAINER as QUANTIZER
from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.runtime.client.transform import MAX_CONTAINERS, OWN_CONTAINERS, slim_pod
from slipway.trainingjob.pods import CONTAINER as TRAINER
from tests.unit.reconcile.pods import NOW as NOON
from tests.unit.reconcile.pods import condition, deleted, pod

Object = dict[str, Any]
NOW = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
GOES_ON = {"running": {"startedAt": NOON}}


def end(code: int, message: str = "", reason: str = "") -> Object:
    how = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "finishedAt": NOON}
    return {"terminated": how | ({"message": message} if message else {})}


def wait(reason: str = "ContainerCreating") -> Object:
    return {"waiting": {"reason": reason}}


def phase_of(*states: Object, init_failed: bool = False) -> str:
    """As a kubelet sums up containers that are never restarted."""
    if init_failed:
        return "Failed"
    if any("waiting" in state for state in states):
        return "Pending"
    if any("running" in state for state in states):
        return "Running"
    return "Failed" if any(state["terminated"]["exitCode"] for state in states) else "Succeeded"


def both(trainer: Object, proxy: Object, *, swapped: bool = False, **status: Any) -> Object:
    found = [{"name": "trainer", "state": trainer}, {"name": "istio-proxy", "state": proxy}]
    told = {"phase": phase_of(trainer, proxy), "containerStatuses": found[::-1] if swapped else found}
    return pod(**{**told, **status})


@pytest.mark.parametrize("swapped", [False, True], ids=["appended", "put first"])
@pytest.mark.parametrize(
    ("trainer", "proxy", "phase", "code", "left_over"),
    [
        (end(0), GOES_ON, "Succeeded", None, True),
        (end(1), GOES_ON, "Failed", 1, True),
        (end(3), end(137, "killed"), "Failed", 3, False),
        (end(0), end(1), "Succeeded", None, False),
        (end(0), end(0), "Succeeded", None, False),
        (end(0), wait("ImagePullBackOff"), "Succeeded", None, True),
        (GOES_ON, end(1), "Running", None, False),
        (GOES_ON, end(0), "Running", None, False),
        (GOES_ON, wait("ImagePullBackOff"), "Running", None, False),
        (wait(), GOES_ON, "Pending", None, False),
        (wait(), end(1), "Pending", None, False),
    ],
)
def test_an_injected_container_neither_ends_a_pod_nor_keeps_it_from_ending(
    trainer: Object, proxy: Object, phase: str, code: int | None, left_over: bool, swapped: bool
) -> None:
    state = observe_pod(slim_pod(both(trainer, proxy, swapped=swapped)), NOW, "trainer")
    assert (state.phase, state.left_over) == (phase, left_over)
    assert (state.failure and (state.failure.exit_code, state.failure.container)) == (code and (code, "trainer"))


@pytest.mark.parametrize("swapped", [False, True], ids=["appended", "put first"])
def test_the_last_words_of_an_injected_container_do_not_hide_the_artifact(swapped: bool) -> None:
    words = observe_pod(both(end(0, "artifact"), end(0, "bye"), swapped=swapped), NOW, "trainer").termination_message
    assert words == "artifact"
    assert not observe_pod(both(end(0), end(1, "bye")), NOW, "trainer").termination_message


def test_an_injected_init_container_that_fails_is_named_and_its_exit_code_judged_by_no_rule() -> None:
    broken = {"name": "istio-init", "state": end(3, "iptables: no such table")}
    # A native sidecar that had started before it, and was ended after it.
    proxy = {"name": "vault", "state": {"terminated": {"exitCode": 143, "finishedAt": "2026-11-01T12:00:03Z"}}}
    body = both(wait("PodInitializing"), wait("PodInitializing"), phase="Failed")
    body["status"]["initContainerStatuses"] = [proxy, broken]
    failure = observe_pod(body, NOW, "trainer").failure
    assert failure is not None
    assert (failure.container, failure.exit_code, failure.message) == ("istio-init", 3, "iptables: no such table")
    criterion = OnExitCodes(operator=ExitCodeOperator.IN, values=[3])
    assert matching_action([FailureRule(action=RuleAction.FAIL_JOB, on_exit_codes=criterion)], failure) is None
    draft = restart_or_fail(FailurePolicy(), failure, StatusDraft({}, 1, NOW), {3: Reason.BAD_INPUT})
    assert not draft.run.finished


def test_an_eviction_is_an_eviction_whatever_the_container_said_to_it() -> None:
    body = both(end(0), end(137), reason="Evicted", message="The node was low on resource: memory.")
    failure = observe_pod(body, NOW, "trainer").failure
    assert failure is not None
    assert failure.reason == "Evicted"


def test_a_drain_that_ends_an_injected_container_does_not_undo_the_work_of_the_other() -> None:
    told = [condition("DisruptionTarget", "True", "EvictionByEvictionAPI"), condition("Ready", "False")]
    for proxy in (GOES_ON, end(143)):
        state = observe_pod(deleted(both(end(0), proxy, conditions=told)), NOW, "trainer")
        assert (state.phase, state.failure) == ("Succeeded", None)


@pytest.mark.parametrize(("kubelet", "reason"), [("False", "PodDeleted"), ("True", "NodeLost")])
def test_an_injected_container_that_is_not_ready_does_not_make_its_node_a_lost_one(kubelet: str, reason: str) -> None:
    told = [condition("Ready", "False"), condition("ContainersReady", kubelet)]
    failure = observe_pod(deleted(both(GOES_ON, end(1), conditions=told)), NOW, "trainer").failure
    assert failure is not None
    assert failure.reason == reason


def test_native_sidecars_end_by_themselves() -> None:
    """The kubelet ends them after the last ordinary container: nothing has to be deleted, and the logs stay."""
    body = pod(phase="Running", containerStatuses=[{"name": "trainer", "state": end(0)}])
    body["status"]["initContainerStatuses"] = [{"name": "istio-proxy", "state": GOES_ON}]
    state = observe_pod(body, NOW, "trainer")
    assert (state.phase, state.left_over) == ("Succeeded", False)
    assert cleanup.after_finish(CleanPodPolicy.RUNNING, [state], 30, NOW + timedelta(hours=1)) == cleanup.Cleanup()


@pytest.mark.parametrize("policy", list(CleanPodPolicy))
@pytest.mark.parametrize("ended", ["2026-11-01T12:00:00Z", "2027-01-01T00:00:00Z"], ids=["now", "clock ahead"])
def test_what_goes_on_is_ended_under_every_policy_after_a_pause_and_within_its_grace_period(
    policy: CleanPodPolicy, ended: str
) -> None:
    trainer = end(0)
    trainer["terminated"]["finishedAt"] = ended
    state = observe_pod(both(trainer, GOES_ON), NOW, "trainer")
    at_once = cleanup.after_finish(policy, [state], 30, NOW)
    ahead = ended.startswith("2027")
    assert bool(at_once.deletes) == (ahead or policy is CleanPodPolicy.ALL)
    assert at_once.wait
    (late,) = cleanup.after_finish(policy, [state], 30, NOW + timedelta(seconds=6)).deletes
    assert (late.uid, late.force) == ("uid-p", False)


def test_the_pod_that_failed_last_is_kept_for_its_logs_only_if_nothing_goes_on_in_it() -> None:
    kept = observe_pod(both(end(1), end(0)), NOW, "trainer")
    going_on = observe_pod(both(end(1), GOES_ON), NOW, "trainer")
    later = NOW + timedelta(seconds=6)
    assert not cleanup.replaced([kept], "p", 30, later).deletes
    assert not cleanup.replaced([going_on], "p", 30, NOW).deletes
    assert cleanup.replaced([going_on], "p", 30, later).deletes


def test_the_cache_keeps_our_container_and_what_goes_on_among_hundreds() -> None:
    many = [{"name": f"injected-{i}", "state": end(0)} for i in range(100)]
    body = pod(
        phase="Running",
        containerStatuses=[*many, {"name": "x", "state": GOES_ON}, {"name": "trainer", "state": end(0, "artifact")}],
    )
    thin = slim_pod(body)
    assert slim_pod(thin) == thin
    assert len(thin["status"]["containerStatuses"]) == MAX_CONTAINERS
    state = observe_pod(thin, NOW, "trainer")
    assert (state.phase, state.termination_message, state.left_over) == ("Succeeded", "artifact", True)
    assert {TRAINER, QUANTIZER, BUILD, SERVER} == OWN_CONTAINERS


STATES = st.one_of(
    st.builds(end, st.sampled_from([0, 1, 3, 137, 143]), st.sampled_from(["", "words"])),
    st.just(GOES_ON),
    st.builds(wait, st.sampled_from(["ContainerCreating", "ErrImagePull"])),
)


@given(trainer=STATES, others=st.lists(STATES, max_size=4), place=st.integers(0, 4))
def test_a_pod_ends_as_it_would_without_what_was_injected(trainer: Object, others: list[Object], place: int) -> None:
    alone = pod(phase=phase_of(trainer), containerStatuses=[{"name": "trainer", "state": trainer}])
    entries = [{"name": f"other-{i}", "state": state} for i, state in enumerate(others)]
    entries.insert(min(place, len(entries)), {"name": "trainer", "state": trainer})
    crowd = pod(phase=phase_of(trainer, *others), containerStatuses=entries)
    one, other = observe_pod(alone, NOW, "trainer"), observe_pod(crowd, NOW, "trainer")
    assert (one.phase, one.failure, one.termination_message) == (other.phase, other.failure, other.termination_message)
    assert not one.left_over
