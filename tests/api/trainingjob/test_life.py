"""The life of a TrainingJob on a real API server, with the real operator process; only the kubelet is scripted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import SHARED as NS
from tests.api.operators import Operator
from tests.api.stage import JOBS, PODS, Stage, condition
from tests.cluster.scripted.script import Exit, Script

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]


def finish_all(stage: Stage, name: str, attempt: int = 0, nodes: int = 2) -> None:
    for index in range(nodes):
        stage.finish(NS, f"{name}-node-{index}-a{attempt}")


def test_happy_path(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=2)
    running = stage.until_running(NS, name)["status"]
    assert running["replicaStatuses"]["desired"] == 2
    assert condition(running, "Ready")["status"] == "Unknown"  # type: ignore[index]
    finish_all(stage, name)
    done = stage.until_condition(NS, name, "Succeeded")
    assert condition(done, "Ready")["status"] == "True"  # type: ignore[index]
    assert not condition(done, "Reconciling")
    assert not condition(done, "Stalled")
    assert done["startTime"] <= done["completionTime"]
    assert done["restartCount"] == 0
    assert done["replicaStatuses"]["succeeded"] == 2
    assert done["observedGeneration"] == stage.job(NS, name)["metadata"]["generation"]


def test_reapplying_the_manifest_writes_nothing(stage: Stage, name: str) -> None:
    stage.create(NS, name)
    stage.until_running(NS, name)
    before = stage.job(NS, name)["metadata"]
    patched = stage.edit(NS, name, trainer={"image": "x", "command": ["train"]})["metadata"]
    assert patched["generation"] == before["generation"]
    stage.finish(NS, f"{name}-node-0-a0")
    stage.until_condition(NS, name, "Succeeded")
    writes = [e for e in stage.writes(NS) if f"/trainingjobs/{name}/" in e["requestURI"]]
    assert len(writes) == 3, "created, running, succeeded"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (Exit(code=1, message="boom"), {"exitCode": 1, "reason": "Error", "message": "boom"}),
        (Exit(signal=9), {"exitCode": 137, "signal": "SIGKILL"}),
        (Exit(code=137, reason="OOMKilled"), {"exitCode": 137, "reason": "OOMKilled", "signal": "SIGKILL"}),
        (Exit(pod_reason="Evicted", message="disk"), {"reason": "Evicted", "message": "disk"}),
    ],
    ids=["exit 1", "SIGKILL", "OOM", "evicted"],
)
def test_the_whole_gang_restarts_and_says_why(stage: Stage, name: str, how: Exit, told: dict[str, Any]) -> None:
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-1-a0", how)
    again = stage.until_running(NS, name, attempt=1)["status"]
    assert again["restartCount"] == 1
    assert condition(again, "Restarting")["status"] == "False"  # type: ignore[index]
    failure = again["lastFailure"]
    assert failure.items() >= {"pod": f"{name}-node-1-a0", "attempt": 0, **told}.items()
    assert failure["node"].startswith("node-")
    pods = stage.until_pods(NS, name, lambda all_: f"{name}-node-0-a0" not in all_)
    assert set(pods) == {f"{name}-node-1-a0", f"{name}-node-0-a1", f"{name}-node-1-a1"}
    assert {pods[f"{name}-node-{i}-a1"]["spec"]["hostname"] for i in range(2)} == {f"{name}-node-{i}" for i in range(2)}
    service = stage.plane.client.get(f"/api/v1/namespaces/{NS}/services/{name}-nodes")
    assert service["spec"]["selector"]["slipway.dev/attempt"] == "1"
    finish_all(stage, name, attempt=1)
    assert stage.until_condition(NS, name, "Succeeded")["restartCount"] == 1


def test_no_pod_of_the_old_attempt_runs_when_the_new_one_starts(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(runs_for=None, stops_after=1.0)
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-0-a0", Exit(code=1))

    def checked(pods: dict[str, Any]) -> bool:
        live = {n[-2:] for n, pod in pods.items() if pod["status"]["phase"] in {"Pending", "Running"}}
        assert len(live) <= 1, f"two gangs at once: {sorted(pods)}"
        return sum(n.endswith("a1") for n in pods) == 2

    stage.until_pods(NS, name, checked)


def test_the_budget_ends_the_job(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(exit=Exit(code=1))
    stage.create(NS, name, numNodes=2, failurePolicy={"maxRestarts": 2, "backoff": {"seconds": 2}})
    failed = stage.until_condition(NS, name, "Failed", reason="MaxRestartsExceeded")
    assert (failed["restartCount"], failed["restartCountTowardsMax"], failed["attempt"]) == (2, 2, 2)
    assert failed["completionTime"]
    assert condition(failed, "Stalled")
    assert "exit code 1" in condition(failed, "Failed")["message"]  # type: ignore[index]
    stage.until_pods(NS, name, lambda pods: all(p["status"]["phase"] == "Failed" for p in pods.values()))


def test_rules_first_match_wins(stage: Stage, name: str) -> None:
    rules = [
        {"action": "FailJob", "onExitCodes": {"values": [3]}},
        {"action": "RestartIgnoreMaxRestarts", "onPodConditions": ["DisruptionTarget"]},
    ]
    stage.create(NS, name, failurePolicy={"maxRestarts": 0, "rules": rules})
    stage.until_running(NS, name)
    preempted = Exit(code=143, condition="DisruptionTarget", pod_reason="PreemptionByScheduler")
    stage.finish(NS, f"{name}-node-0-a0", preempted)
    again = stage.until_running(NS, name, attempt=1)["status"]
    assert (again["restartCount"], again["restartCountTowardsMax"]) == (1, 0)
    assert again["lastFailure"]["reason"] == "Preempted"
    stage.finish(NS, f"{name}-node-0-a1", Exit(code=3))
    failed = stage.until_condition(NS, name, "Failed", reason="FailureRule")
    assert failed["restartCount"] == 1


@pytest.mark.parametrize("grace", [None, 0])
def test_a_pod_deleted_by_somebody_else_restarts_the_gang(stage: Stage, name: str, grace: int | None) -> None:
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    stage.delete(PODS.format(NS), f"{name}-node-0-a0", **({} if grace is None else {"gracePeriodSeconds": grace}))
    again = stage.until_running(NS, name, attempt=1)["status"]
    assert again["lastFailure"]["reason"] == "PodDeleted"
    assert again["restartCount"] == 1
    assert (again["restartCountTowardsMax"], again["disruptionCount"]) == (0, 1)


def test_suspend_keeps_the_grace_period_and_resume_takes_the_edits(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(runs_for=None, stops_after=0.5)
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    stage.edit(NS, name, runPolicy={"suspend": True})
    suspended = stage.until_condition(NS, name, "Suspended")
    assert condition(suspended, "Running")["status"] == "False"  # type: ignore[index]
    pods = stage.until_pods(NS, name, lambda all_: all("deletionTimestamp" in p["metadata"] for p in all_.values()))
    assert all(p["metadata"]["deletionGracePeriodSeconds"] == 30 for p in pods.values())
    stage.until_pods(NS, name, lambda all_: not all_)
    stage.edit(NS, name, numNodes=3, pod={"nodeSelector": {"kubernetes.io/hostname": "node-1"}})
    stage.edit(NS, name, runPolicy={"suspend": False})
    resumed = stage.until_running(NS, name, attempt=1)["status"]
    assert condition(resumed, "Suspended")["status"] == "False"  # type: ignore[index]
    assert (resumed["restartCount"], resumed["replicaStatuses"]["desired"]) == (0, 3)
    pods = stage.until_pods(NS, name, lambda all_: len(all_) == 3)
    assert all(p["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "node-1"} for p in pods.values())
    finish_all(stage, name, attempt=1, nodes=3)
    stage.until_condition(NS, name, "Succeeded")
    assert _events(stage, name).count("Suspended") == 1
    assert _events(stage, name).count("Resumed") == 1


def _events(stage: Stage, name: str) -> list[str]:
    from tests.api.watching import watch

    path = f"/api/v1/namespaces/{NS}/events"
    mine = watch(stage.plane.client, path, lambda all_: any(_about(e, name, "Succeeded") for e in all_.values()))
    return [e["reason"] for e in mine.values() if e["involvedObject"]["name"] == name]


def _about(event: dict[str, Any], name: str, reason: str) -> bool:
    return bool(event["involvedObject"]["name"] == name and event["reason"] == reason)


def test_a_job_created_suspended_makes_nothing(stage: Stage, name: str) -> None:
    stage.create(NS, name, runPolicy={"suspend": True})
    stage.until_condition(NS, name, "Suspended")
    assert not stage.exists(f"/api/v1/namespaces/{NS}/configmaps/{name}-job")
    stage.edit(NS, name, runPolicy={"suspend": False})
    assert stage.until_running(NS, name)["status"]["attempt"] == 0


def test_a_successor_of_the_same_name_shows_nothing_of_the_old_job(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(runs_for=None, stops_after=1.5)
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-0-a0", Exit(code=1))
    old = stage.until_running(NS, name, attempt=1)["metadata"]["uid"]
    stage.delete(JOBS.format(NS), name)
    stage.until_gone(JOBS.format(NS), name)
    new = stage.create(NS, name, numNodes=2)["metadata"]["uid"]

    def checked(pods: dict[str, Any]) -> bool:
        owners = {
            p["metadata"]["ownerReferences"][0]["uid"] for p in pods.values() if p["status"]["phase"] == "Running"
        }
        assert len(owners) <= 1, "both gangs write to one checkpoint"
        return owners == {new} and len(pods) == 2

    stage.until_pods(NS, name, checked, seconds=30)
    status = stage.until_running(NS, name)["status"]
    assert status["restartCount"] == 0
    assert "lastFailure" not in status
    assert status["attempt"] == 0
    assert old != new


def test_a_deleted_job_leaves_nothing(stage: Stage, name: str) -> None:
    stage.create(NS, name)
    stage.until_running(NS, name)
    stage.delete(JOBS.format(NS), name)
    stage.until_gone(JOBS.format(NS), name)
    stage.until_pods(NS, name, lambda pods: not pods)
    stage.until_gone(f"/api/v1/namespaces/{NS}/configmaps", f"{name}-job")
    stage.until_gone(f"/api/v1/namespaces/{NS}/services", f"{name}-nodes")


def test_an_edit_of_a_running_job_touches_no_pod(stage: Stage, name: str) -> None:
    """This server has no CEL, so the edit gets through; newer ones refuse it at once."""
    stage.without_cel()
    stage.create(NS, name, numNodes=2)
    stage.until_running(NS, name)
    before = {n: p["metadata"]["uid"] for n, p in stage.until_pods(NS, name, lambda all_: len(all_) == 2).items()}
    stage.edit(NS, name, numNodes=3, trainer={"image": "y"})
    status = stage.until_condition(NS, name, "Stalled", reason="SpecChanged", seconds=2)
    assert condition(status, "Running")["status"] == "True"  # type: ignore[index]
    stage.edit(NS, name, numNodes=2, trainer={"image": "x"})
    stage.until_job(NS, name, lambda s: not condition(s, "Stalled"))
    after = {n: p["metadata"]["uid"] for n, p in stage.until_pods(NS, name, lambda all_: len(all_) == 2).items()}
    assert before == after
    finish_all(stage, name)
    stage.until_condition(NS, name, "Succeeded")


def test_a_job_managed_by_another_controller_is_left_alone(stage: Stage, name: str) -> None:
    stage.create(NS, f"{name}-managed", runPolicy={"managedBy": "kueue.x-k8s.io/multikueue"})
    stage.create(NS, name)
    stage.until_running(NS, name)
    status = stage.job(NS, f"{name}-managed").get("status") or {}
    assert status.get("observedGeneration") == -1
    assert not [e for e in stage.writes(NS) if f"{name}-managed" in e["requestURI"]]


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(shared_operator: Operator) -> None:
    assert shared_operator.running(), shared_operator.tail()
    assert "Traceback" not in shared_operator.log.read_text(), shared_operator.tail()
