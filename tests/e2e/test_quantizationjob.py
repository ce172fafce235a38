"""Real pods quantize a real model; killed in several stages, they publish the very same bytes and figures."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.cluster.base import Cluster
from tests.e2e.conftest import Job, Namespace, condition, is_true
from tests.e2e.training.power import kill_container
from tests.e2e.training.reader import digests

# Two bits make the ladder climb to the mixed-precision rung, with two shards in each of its sharded stages.
NARROW = {
    "ladder": ["static-per-tensor", "static-per-channel", "mixed-precision"],
    "weights": {"bits": 2},
    "sensitivity": {"maxExclusions": 4, "samples": 128},
    "parallelism": 2,
    "benchmark": {"batchSizes": [1], "iterations": 20},
}
# Measured anew by every run, and who is beaten by nobody in speed, too; all else must be the same.
TIMED = {"speedup", "pareto"}


def quantization(example: Any, name: str) -> Job:
    job: Job = copy.deepcopy(example("quantizationjob.yaml"))
    job["metadata"]["name"] = name
    job["spec"] |= {**copy.deepcopy(NARROW), "output": {"uri": f"pvc://slipway-artifacts/{name}"}}
    return job


def figures(job: Job) -> list[dict[str, Any]]:
    """Every candidate's, but for what a clock says."""
    rows = job["status"]["comparison"]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def headline(job: Job) -> dict[str, str]:
    return {key: value for key, value in job["status"]["headline"].items() if key != "speed"}


def kill_in(namespace: Namespace, cluster: Cluster, name: str, stage: str, shard: int, restarts: int) -> None:
    """kill -9 the quantizer in a stage, and see that stage restart, and no other."""

    def at_work(job: Job) -> bool:
        status = job.get("status") or {}
        return bool(status.get("stage") == stage and is_true(job, "Running"))

    before = namespace.until("quantizationjob", name, at_work, f"in {stage}", 300)["status"]
    pod_name = f"{name}-{before['step']}-{shard}-a{before['attempt']}"
    victim = next(pod for pod in namespace.pods(name) if pod["metadata"]["name"] == pod_name)
    kill_container(cluster, victim)
    after = namespace.until(
        "quantizationjob", name, lambda j: j["status"].get("restartCount", 0) == restarts, "restarted", 180
    )["status"]
    assert (after["stage"], after["step"]) == (stage, before["step"])
    failure = after["lastFailure"]
    assert (failure["pod"], failure["signal"], failure["exitCode"]) == (pod_name, "SIGKILL", 137)
    assert failure["node"] == victim["spec"]["nodeName"]


@pytest.mark.slow
def test_kill_9_in_several_stages_changes_nothing_in_the_result(
    namespace: Namespace, cluster: Cluster, example: Any
) -> None:
    namespace.apply(example("trainingjob.yaml"))
    for name in ("calm", "killed"):
        namespace.apply(quantization(example, name))
    kill_in(namespace, cluster, "killed", "export", 0, 1)
    kill_in(namespace, cluster, "killed", "calibrate", 1, 2)
    kill_in(namespace, cluster, "killed", "sensitivity", 0, 3)
    calm = namespace.until_condition("quantizationjob", "calm", "Succeeded", 600)
    killed = namespace.until_condition("quantizationjob", "killed", "Succeeded", 600)
    assert (calm["status"].get("restartCount", 0), killed["status"]["restartCount"]) == (0, 3)
    assert killed["status"]["selected"].startswith("mixed-precision-")
    assert killed["status"]["selected"] == calm["status"]["selected"]
    assert len(figures(killed)) >= 3
    assert figures(killed) == figures(calm)
    assert headline(killed) == headline(calm)
    assert killed["status"]["source"] == calm["status"]["source"]
    assert same_model(namespace, "calm", "killed")
    for kind in ("SourceReady", "Baselined", "Calibrated", "Escalated", "AccuracyGatePassed", "Published"):
        assert is_true(killed, kind), (kind, condition(killed, kind))
    assert killed["status"]["progress"]["percent"] == 100
    assert {metric["name"] for metric in killed["status"]["progress"]["metrics"]} >= {"float_accuracy", "accuracy"}


def same_model(namespace: Namespace, *names: str) -> bool:
    """Whether the jobs have published the very same bytes; read in the quantizer's image, which the cluster has."""
    image = str(namespace.pods(names[0])[0]["spec"]["containers"][0]["image"])
    models = [f"slipway-artifacts/{name}/model.onnx" for name in names]
    return len(set(digests(namespace, image, *models).values())) == 1


@pytest.mark.slow
def test_each_step_of_compression_is_a_row_and_kill_9_in_its_training_changes_none(
    namespace: Namespace, cluster: Cluster, example: Any
) -> None:
    namespace.apply(example("trainingjob.yaml"))
    for name in ("calm", "killed"):
        job = copy.deepcopy(example("quantizationjob-compress.yaml"))
        job["metadata"]["name"] = name
        job["spec"]["output"] = {"uri": f"pvc://slipway-artifacts/{name}"}
        # Two runs on a busy node need not agree on what is faster: what is smaller is kept, and one candidate competes.
        job["spec"]["optimizeFor"] = "size"
        job["spec"]["calibration"]["methods"] = ["min-max"]
        namespace.apply(job)
    kill_in(namespace, cluster, "killed", "compress", 0, 1)
    calm = namespace.until_condition("quantizationjob", "calm", "Succeeded", 600)
    killed = namespace.until_condition("quantizationjob", "killed", "Succeeded", 600)
    whole, channels, zeros, *rungs = figures(killed)
    assert figures(killed) == figures(calm)
    assert [row["name"] for row in (channels, zeros)] == ["compressed-1-channels", "compressed-2-magnitude"]
    assert channels["parameters"] < 0.8 * whole["parameters"]
    assert zeros["zeros"] > 0.4 * channels["parameters"]
    assert rungs, "the ladder starts from what is left"
    assert same_model(namespace, "calm", "killed")


@pytest.mark.slow
def test_a_gate_that_nothing_passes_ends_in_figures_and_publishes_nothing(namespace: Namespace, example: Any) -> None:
    namespace.apply(example("trainingjob.yaml"))
    job = quantization(example, "refused")
    job["spec"] |= {"ladder": ["static-per-tensor"], "onFailure": "fail"}
    namespace.apply(job)
    failed = namespace.until_condition("quantizationjob", "refused", "Failed", 600)["status"]
    assert condition({"status": failed}, "Failed")["reason"] == "GateFailed"
    assert not is_true({"status": failed}, "AccuracyGatePassed")
    assert "artifact" not in failed
    assert failed["report"]["uri"].startswith("pvc://slipway-artifacts/refused.work/")
    assert all(row["drop"] > 0 for row in failed["comparison"][1:])
    shown = namespace.kubectl("get", "qj", "refused")
    assert {"FP32", "INT8", "DROP", "SIZE", "SPEED", "PROGRESS"} <= set(shown.splitlines()[0].split())
    assert json.dumps(failed["headline"]["float"])[1:-1] in shown
