"""What launchers and elastic jobs leave on a real API server: the key drawn once, scaling, a node that is replaced."""

from __future__ import annotations

import pytest

from tests.api.stage import JOBS, Stage, condition
from tests.cluster.scripted.script import Exit, Script

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]

NS = "shared"
ELASTIC = {"elasticPolicy": {"minNodes": 1, "maxNodes": 4}}


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed", "horovodrun", "mpirun", "ray", "plain"])
def test_every_launcher_is_taken_by_the_server_and_ends(stage: Stage, name: str, launcher: str) -> None:
    stage.scripts[name] = lambda pod: Script(runs_for=0.1)
    stage.create(NS, name, launcher=launcher, numNodes=2)
    stage.until_condition(NS, name, "Succeeded")


def test_the_key_is_drawn_once_and_stays_over_restarts(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(
        runs_for=0.1, exit=Exit(code=int(pod["metadata"]["name"].endswith("node-1-a0")))
    )
    stage.create(NS, name, launcher="mpirun", numNodes=2)
    uid = stage.job(NS, name)["metadata"]["uid"]
    path = f"/api/v1/namespaces/{NS}/secrets/{name}-gang-{uid[:8]}"
    stage.until_pods(NS, name, lambda pods: pods)
    first = stage.plane.client.get(path)
    assert len(first["data"]["key"]) > 60
    assert first["immutable"] is True
    assert first["metadata"]["ownerReferences"][0]["uid"] == uid
    stage.until_condition(NS, name, "Succeeded")
    assert stage.job(NS, name)["status"]["restartCount"] == 1
    assert stage.plane.client.get(path)["data"] == first["data"]


def test_an_elastic_job_is_scaled_by_the_scale_subresource(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=2, **ELASTIC)
    stage.until_running(NS, name)
    scale = f"{JOBS.format(NS)}/{name}/scale"
    assert stage.plane.client.get(scale)["status"]["replicas"] == 2
    stage.plane.client.patch(scale, {"spec": {"replicas": 3}})
    stage.until_pods(NS, name, lambda pods: sorted(pods) == [f"{name}-node-{i}-a0" for i in range(3)])
    stage.until_job(NS, name, lambda status: status.get("nodes") == 3)
    stage.plane.client.patch(scale, {"spec": {"replicas": 1}})
    stage.until_pods(NS, name, lambda pods: sorted(pods) == [f"{name}-node-0-a0"])
    status = stage.job(NS, name)["status"]
    assert status.get("restartCount", 0) == 0
    assert condition(status, "Stalled") is None
    stage.finish(NS, f"{name}-node-0-a0")
    stage.until_condition(NS, name, "Succeeded")


def test_a_lost_node_shrinks_an_elastic_job_and_a_new_one_joins(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=3, **ELASTIC)
    stage.until_running(NS, name)
    kept = stage.until_pods(NS, name, lambda pods: len(pods) == 3)[f"{name}-node-0-a0"]["metadata"]["uid"]
    stage.finish(NS, f"{name}-node-1-a0", Exit(code=137, reason="OOMKilled"))
    pods = stage.until_pods(NS, name, lambda pods: f"{name}-node-3-a0" in pods)
    assert pods[f"{name}-node-0-a0"]["metadata"]["uid"] == kept
    status = stage.until_job(NS, name, lambda s: s["elastic"]["indices"] == [0, 2, 3] and s.get("restartCount") == 1)
    assert status["status"].get("attempt", 0) == 0
    assert status["status"]["lastFailure"]["reason"] == "OOMKilled"
    for index in (0, 2, 3):
        stage.finish(NS, f"{name}-node-{index}-a0")
    stage.until_condition(NS, name, "Succeeded")


def test_rank_0s_success_is_the_jobs_when_asked_for(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=2, successPolicy="Rank0")
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-0-a0")
    stage.until_condition(NS, name, "Succeeded")
    stage.until_pods(NS, name, lambda pods: list(pods) == [f"{name}-node-0-a0"])


def test_silence_is_a_failure_at_its_deadline(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=1, failurePolicy={"progressDeadlineSeconds": 3, "maxRestarts": 0})
    failed = stage.until_condition(NS, name, "Failed", seconds=15)
    assert failed["lastFailure"]["reason"] == "Hang"


def test_the_strategy_is_chosen_before_the_first_pod(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(runs_for=0.1)
    strategy = {"gpuMemory": "40Gi", "model": {"parameters": 7_500_000_000, "layers": 32}}
    stage.create(NS, name, launcher="deepspeed", numNodes=1, numProcPerNode=8, strategy=strategy)
    status = stage.until_condition(NS, name, "Succeeded")
    assert status["strategy"]["name"] == "ZeRO2"
    assert [row["fits"] for row in status["strategy"]["estimates"]] == [False, False, True, True, True]
