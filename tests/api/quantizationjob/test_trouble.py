"""Pods that die in any stage, jobs that are wrong, limits that are met: what happens, and what is said about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from slipway.api.quantization.status import Stage
from tests.api.conftest import SHARED as NS
from tests.api.operators import Operator
from tests.api.quantizationjob.acts import WHOLE, play
from tests.api.quantizationjob.jobs import JOBS, Jobs, mark, message
from tests.api.stage import PATIENCE
from tests.cluster.scripted.script import Exit, Script
from tests.unit.quantizationjob.refusals import WRONG

pytestmark = pytest.mark.api

WAYS = {
    "exit 1": (Exit(code=1, message="boom"), {"exitCode": 1, "reason": "Error", "message": "boom"}),
    "SIGKILL": (Exit(signal=9), {"exitCode": 137, "signal": "SIGKILL"}),
    "OOM": (Exit(code=137, reason="OOMKilled"), {"exitCode": 137, "reason": "OOMKilled", "signal": "SIGKILL"}),
    "evicted": (Exit(pod_reason="Evicted", message="disk"), {"reason": "Evicted", "message": "disk"}),
}
# Each stage dies in one way, and each way is met in more than one stage.
CASES = [(step, list(WAYS)[step % len(WAYS)]) for step in range(len(WHOLE))]


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize(("step", "way"), CASES, ids=lambda value: WHOLE[value] if isinstance(value, int) else value)
def test_a_pod_that_dies_restarts_its_stage_and_no_other(jobs: Jobs, name: str, step: int, way: str) -> None:
    how, told = WAYS[way]
    shard = 1 if WHOLE[step] in {Stage.CALIBRATE, Stage.SENSITIVITY} else 0
    jobs.create(NS, name, play(WHOLE, shards=2, trouble={(step, shard): how}), parallelism=2)
    done = jobs.until_condition(NS, name, "Succeeded", seconds=60)
    disrupted = int(way == "evicted")
    counts = ("restartCount", "restartCountTowardsMax", "disruptionCount")
    assert tuple(done.get(count, 0) for count in counts) == (1, 1 - disrupted, disrupted)
    failure = done["lastFailure"]
    assert failure.items() >= {"pod": f"{name}-{step}-{shard}-a{step}", "attempt": step, **told}.items()
    assert failure["node"].startswith("node-")
    steps = Counter(int(pod[len(name) + 1 :].split("-")[0]) for pod in jobs.made(NS, name))
    sharded = {n: 2 if stage in {Stage.CALIBRATE, Stage.SENSITIVITY} else 1 for n, stage in enumerate(WHOLE)}
    assert steps == {**sharded, step: 2 * sharded[step]}
    assert (mark(done, "Restarting"), mark(done, "Ready")) == (("", ""), ("True", "Succeeded"))
    assert (done["selected"], done["outcome"]) == ("qat", "quantized")


@pytest.mark.usefixtures("shared_operator")
def test_the_budget_is_the_whole_jobs(jobs: Jobs, name: str) -> None:
    trouble = {(0, 0): Exit(code=1), (1, 0): Exit(signal=9), (3, 0): Exit(code=1, message="third")}
    jobs.create(NS, name, play(trouble=trouble), failurePolicy={"maxRestarts": 2, "backoff": {"seconds": 1}})
    failed = jobs.until_condition(NS, name, "Failed", reason="MaxRestartsExceeded")
    assert (failed["stage"], failed["restartCount"]) == ("quantize", 2)
    assert failed["lastFailure"]["message"] == "third"
    # What was proven before stays proven.
    assert mark(failed, "Calibrated")[0] == "True"
    assert mark(failed, "Published") == ("", "")


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize("code", [2, 3])
def test_exit_codes_that_a_restart_would_not_change(jobs: Jobs, name: str, code: int) -> None:
    """2: the job is wrong. 3: nothing passes; but only a pod that says so in figures is believed."""
    words = "accuracy needs labels: add an array `labels` to the evaluation data, or use metric agreement"
    jobs.create(NS, name, play(trouble={(1, 0): Exit(code=code, message=words)}))
    failed = jobs.until_condition(NS, name, "Failed", reason="BadInput")
    assert words in message(failed, "Failed")
    assert failed.get("restartCount", 0) == 0
    assert jobs.made(NS, name) == [f"{name}-0-0-a0", f"{name}-1-0-a1"]


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize(
    ("said", "told"),
    [("", "succeeded without a word"), ('{"stage": "publish"}', "neither a next stage nor an outcome")],
    ids=["nothing", "no outcome"],
)
def test_a_foreign_image_that_does_nothing_is_not_a_success(jobs: Jobs, name: str, said: str, told: str) -> None:
    jobs.create(NS, name, lambda pod: Script(exit=Exit(message=said)), worker={"image": "busybox"})
    failed = jobs.until_condition(NS, name, "Failed", reason="BadInput")
    assert told in message(failed, "Failed")
    assert "outcome" not in failed


@pytest.mark.usefixtures("shared_operator")
def test_a_rule_of_the_users_decides_before_the_budget(jobs: Jobs, name: str) -> None:
    rules = [{"action": "FailJob", "onReasons": ["OOMKilled"]}]
    jobs.create(NS, name, play(trouble={(2, 0): Exit(code=137, reason="OOMKilled")}), failurePolicy={"rules": rules})
    failed = jobs.until_condition(NS, name, "Failed", reason="FailureRule")
    assert failed["stage"] == "calibrate"


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize("kind", ["pods", "configmaps"])
def test_a_strangers_object_is_neither_adopted_nor_overwritten(jobs: Jobs, name: str, kind: str) -> None:
    taken = {"pods": f"{name}-1-0-a1", "configmaps": f"{name}-quantization"}[kind]
    theirs: dict[str, Any] = {
        "pods": {"spec": {"containers": [{"name": "c", "image": "theirs"}]}},
        "configmaps": {"data": {"theirs": "1"}},
    }[kind]
    collection = f"/api/v1/namespaces/{NS}/{kind}"
    stranger = jobs.client.call("POST", collection, {"metadata": {"name": taken}, **theirs})
    jobs.create(NS, name, play())
    shown = jobs.until_condition(NS, name, "Created", "False", "NameConflict")
    assert taken in message(shown, "Ready")
    still = jobs.client.get(f"{collection}/{taken}")
    assert still["metadata"]["uid"] == stranger["metadata"]["uid"]
    assert still.get("data") == stranger.get("data")
    assert "ownerReferences" not in still["metadata"]
    jobs.stage.delete(collection, taken, gracePeriodSeconds=0)
    assert jobs.until_condition(NS, name, "Succeeded", seconds=60).get("restartCount", 0) == 0


@pytest.mark.usefixtures("shared_operator")
def test_the_active_deadline_counts_the_running_time_of_all_stages(jobs: Jobs, name: str) -> None:
    """1.2 s in each of the first two stages; the third one is quiet when the deadline comes."""

    def slow(pod: dict[str, Any]) -> Script:
        script = play()(pod)
        last = pod["metadata"]["name"].endswith("-2-0-a2")
        return Script(runs_for=None) if last else Script(runs_for=2.2, exit=script.exit)

    jobs.create(NS, name, slow, runPolicy={"activeDeadlineSeconds": 6})
    started = jobs.until_stage(NS, name, "calibrate")
    assert 3 <= started["activeSeconds"] <= 5 + 4 * PATIENCE
    since = time.monotonic()
    failed = jobs.until_condition(NS, name, "Failed", reason="DeadlineExceeded")
    assert time.monotonic() - since <= 4 + PATIENCE, "the earlier stages were not counted"
    assert failed["stage"] == "calibrate"
    jobs.stage.until_pods(NS, name, lambda pods: f"{name}-2-0-a2" not in pods)


@pytest.mark.usefixtures("shared_operator")
def test_the_startup_deadline_holds_for_each_stage(jobs: Jobs, name: str) -> None:
    def unschedulable(pod: dict[str, Any]) -> Script:
        first = pod["metadata"]["name"].endswith("-0-0-a0")
        return play()(pod) if first else Script(unschedulable="0/3 nodes are available: 3 Insufficient memory.")

    jobs.create(NS, name, unschedulable, runPolicy={"startupDeadlineSeconds": 2})
    shown = jobs.until_condition(NS, name, "Running", "False", "Unschedulable")
    assert "Insufficient memory" in message(shown, "Ready")
    failed = jobs.until_condition(NS, name, "Failed", reason="StartupDeadlineExceeded")
    assert "Insufficient memory" in message(failed, "Failed")
    assert failed["stage"] == "baseline"


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize(("policy", "left"), [("None", 1), ("Running", 1), ("All", 0)])
def test_which_pods_are_left(jobs: Jobs, name: str, policy: str, left: int) -> None:
    jobs.create(NS, name, play(), runPolicy={"cleanPodPolicy": policy})
    jobs.until_condition(NS, name, "Succeeded")
    pods = jobs.stage.until_pods(NS, name, lambda all_: len(all_) == left)
    assert all(pod["status"]["phase"] == "Succeeded" for pod in pods.values())
    assert set(pods) <= {f"{name}-5-0-a5"}


def test_time_to_live_survives_a_restart_of_the_operator(
    jobs: Jobs, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operator = operators(namespace)
    jobs.create(
        namespace, name, play(trouble={(1, 0): Exit(code=2, message="x")}), runPolicy={"ttlSecondsAfterFinished": 4}
    )
    jobs.until_condition(namespace, name, "Failed", seconds=60)
    operator.kill()
    operator.start()
    jobs.stage.until_gone(JOBS.format(namespace), name, seconds=30)
    jobs.stage.until_pods(namespace, name, lambda pods: not pods)


@pytest.mark.usefixtures("shared_operator")
def test_requests_are_bounded(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play())
    jobs.until_condition(NS, name, "Succeeded")
    asked = [
        f"{e['verb']} {e['requestURI']}"
        for e in jobs.stage.requests(f"/namespaces/{NS}/")
        if f"/{name}" in e["requestURI"] or e["objectRef"].get("name", "").startswith(f"{name}-")
    ]
    asked = [request for request in asked if not request.startswith(("list", "watch")) and "/events" not in request]
    # A stage: the pod, the ConfigMap looked at and brought up to date, created, running, done, the pod before removed.
    assert len(asked) <= 7 * 6 + 3, "\n".join(asked)


# What the schema lets through on a server without CEL, for the operator to refuse.
INVALID = [wrong for wrong in WRONG if wrong.by != "schema"]


@pytest.mark.usefixtures("shared_operator")
def test_invalid_manifests_end_in_a_condition(jobs: Jobs, name: str) -> None:
    jobs.stage.without_cel()
    for number, wrong in enumerate(INVALID):
        body = {**wrong.manifest, "metadata": {"name": f"{name}-{number}"}}
        jobs.client.call("POST", JOBS.format(NS), body)
    for number, wrong in enumerate(INVALID):
        status = jobs.until_condition(NS, f"{name}-{number}", "Stalled", reason="InvalidSpec")
        assert mark(status, "Ready") == ("False", "InvalidSpec")
        assert wrong.words in message(status, "Stalled")
    assert not [made for number in range(len(INVALID)) for made in jobs.made(NS, f"{name}-{number}")]
