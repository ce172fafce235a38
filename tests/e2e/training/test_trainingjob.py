"""Real pods train a real model with torchrun and DDP over gloo, and survive what happens to them."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import condition, is_true
from tests.e2e.training.jobs import EVERY_STEPS, long_job, metrics, percent, step
from tests.e2e.training.power import kill_container
from tests.e2e.training.reader import digests
from tests.e2e.training.steady import ends_well, started


def trainer_image(namespace):
    deployment = namespace._kubectl.get("-n", "slipway-system", "deployment", "slipway-operator")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(entry["value"] for entry in env if entry["name"] == "SLIPWAY_TRAINER_IMAGE")


def test_the_example_trains_on_two_nodes_and_names_its_artifact(namespace, example):
    namespace.apply(example("trainingjob.yaml"))
    job = namespace.until_condition("trainingjob", "digits", "Succeeded")
    status, path = job["status"], "slipway-artifacts/digits/artifact.json"
    assert metrics(job)["accuracy"] >= 0.97
    assert status["artifact"]["digest"] == f"sha256:{digests(namespace, trainer_image(namespace), path)[path]}"
    assert status["restartCount"] == 0
    assert status["replicaStatuses"]["succeeded"] == 2
    assert status["progress"]["percent"] == 100
    assert status["startTime"] <= status["completionTime"]
    assert is_true(job, "Ready")
    assert not condition(job, "Reconciling")
    log = namespace.kubectl("logs", "digits-node-0-a0")
    assert "processes: 2 (ddp)" in log


@pytest.mark.slow
def test_one_node_reaches_the_same_accuracy(namespace, example):
    job = example("trainingjob.yaml")
    job["spec"]["numNodes"] = 1
    namespace.apply(job)
    found = namespace.until_condition("trainingjob", "digits", "Succeeded")
    # The same global batch in the same order: what differs is the order of additions.
    assert metrics(found)["accuracy"] >= 0.97


@pytest.mark.slow
def test_kill_9_of_a_training_pod_restarts_the_gang_which_resumes(namespace, cluster, example):
    namespace.apply(long_job(example, "killed"))
    namespace.until("trainingjob", "killed", lambda j: 3 <= percent(j) < 80, "under way")
    victim = next(pod for pod in namespace.pods("killed") if pod["metadata"]["name"] == "killed-node-1-a0")
    kill_container(cluster, victim)
    namespace.until("trainingjob", "killed", lambda j: j["status"].get("restartCount") == 1, "restarted", 180)
    job = namespace.until_condition("trainingjob", "killed", "Succeeded", 400)
    failure = job["status"]["lastFailure"]
    assert (failure["pod"], failure["signal"], failure["exitCode"]) == ("killed-node-1-a0", "SIGKILL", 137)
    assert failure["node"] == victim["spec"]["nodeName"]
    assert job["status"]["restartCount"] == 1
    log = namespace.kubectl("logs", "killed-node-0-a1")
    assert "resumed from step" in log
    assert metrics(job)["accuracy"] >= 0.97


@pytest.mark.slow
def test_suspended_and_resumed_it_goes_on_from_its_checkpoint(namespace, example):
    namespace.apply(long_job(example, "paused"))
    namespace.until("trainingjob", "paused", lambda j: 3 <= percent(j) < 60, "under way")
    suspend(namespace, "paused", True)
    namespace.until(
        "trainingjob", "paused", lambda j: is_true(j, "Suspended") and not namespace.pods("paused"), "suspended", 90
    )
    suspend(namespace, "paused", False)
    job = namespace.until_condition("trainingjob", "paused", "Succeeded", 400)
    assert job["status"]["restartCount"] == 0
    assert "resumed from step" in namespace.kubectl("logs", "paused-node-0-a1")


def suspend(namespace, name, value):
    patch = json.dumps({"spec": {"runPolicy": {"suspend": value}}})
    namespace.kubectl("patch", "trainingjob", name, "--type=merge", "-p", patch)


def goes_on(namespace, name, attempt):
    """Wait until an attempt has resumed from a checkpoint and gone further than that."""
    namespace.until("trainingjob", name, lambda j: j["status"].get("attempt", 0) == attempt, "restarted", 180)
    namespace.until("trainingjob", name, lambda j: is_true(j, "Running"), "running again", 180)
    before = step(namespace.get("trainingjob", name))
    namespace.until("trainingjob", name, lambda j: step(j) > before, "going on", 180)
    assert "resumed from step" in namespace.kubectl("logs", f"{name}-node-0-a{attempt}")


def loses_node_1(namespace, cluster, name):
    """kill -9 of the first attempt's second pod, whose name is returned once the gang goes on without it."""
    victim = next(pod for pod in namespace.pods(name) if pod["metadata"]["name"] == f"{name}-node-1-a0")
    kill_container(cluster, victim)
    goes_on(namespace, name, 1)
    failure = namespace.get("trainingjob", name)["status"]["lastFailure"]
    pod = victim["metadata"]["name"]
    assert (failure["pod"], failure["signal"], failure["exitCode"]) == (pod, "SIGKILL", 137)
    assert failure["node"] == victim["spec"]["nodeName"]
    return pod


def test_one_job_outlives_its_operator_a_kill_9_and_a_suspension(namespace, cluster, installed, example):
    """One job that trains for longer than any machine is fast, and one that ends when the operator is a new one.

    That a job ends as well as undisturbed after each of them alone is a slow test.
    """
    long = long_job(example, "orphan")
    long["spec"]["recipe"]["epochs"] = 10_000
    namespace.apply(long)
    waiting = started(namespace, trainer_image(namespace))
    namespace.until("trainingjob", "orphan", lambda j: step(j) > 0, "under way")
    pods = [pod["metadata"]["uid"] for pod in namespace.pods("orphan")]
    operator = installed.get("-n", "slipway-system", "pods", "-l", "app.kubernetes.io/name=slipway-operator")["items"]
    for pod in operator:
        kill_container(cluster, pod)
    before = step(namespace.get("trainingjob", "orphan"))
    namespace.until("trainingjob", "orphan", lambda j: step(j) > before, "going on after the kill")
    installed("-n", "slipway-system", "delete", "pods", "-l", "app.kubernetes.io/name=slipway-operator")
    before = step(namespace.get("trainingjob", "orphan"))
    job = namespace.until("trainingjob", "orphan", lambda j: step(j) > before, "going on under a new pod's eyes")
    assert job["status"]["restartCount"] == 0
    assert [pod["metadata"]["uid"] for pod in namespace.pods("orphan")] == pods
    ends_well(namespace, waiting)
    # The newest checkpoint may still be on its way to the disk.
    namespace.until("trainingjob", "orphan", lambda j: step(j) >= 3 * EVERY_STEPS, "beyond its first checkpoint")
    killed = loses_node_1(namespace, cluster, "orphan")
    suspend(namespace, "orphan", True)
    # The pod that failed stays, for its log.
    left = [killed]
    namespace.until(
        "trainingjob",
        "orphan",
        lambda j: is_true(j, "Suspended") and [p["metadata"]["name"] for p in namespace.pods("orphan")] == left,
        "suspended",
    )
    suspend(namespace, "orphan", False)
    goes_on(namespace, "orphan", 2)
    assert namespace.get("trainingjob", "orphan")["status"]["restartCount"] == 1


def test_bad_images_and_impossible_requests_say_so(namespace, example):
    job = example("trainingjob.yaml")
    job["metadata"]["name"] = "bad-image"
    job["spec"]["trainer"]["image"] = "localhost/slipway/no-such-image:1"
    namespace.apply(job)
    job = example("trainingjob.yaml")
    job["metadata"]["name"] = "too-big"
    job["spec"]["trainer"]["resourcesPerNode"] = {"limits": {"nvidia.com/gpu": 5}}
    namespace.apply(job)
    found = namespace.until(
        "trainingjob", "bad-image", lambda j: condition(j, "Running").get("reason") == "ImagePullError", "refused", 180
    )
    assert "no-such-image" in condition(found, "Running")["message"]
    found = namespace.until("trainingjob", "too-big", lambda j: "queue" in (j.get("status") or {}), "queued", 180)
    assert condition(found, "Running")["reason"] == "Queued"
    assert "2 pods that each ask for 5 nvidia.com/gpu: too many even" in found["status"]["queue"]["missing"]
    assert namespace.pods("too-big") == []
