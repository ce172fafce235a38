"""A QuantizationJob's plan: waits for its source, goes from stage to stage as pods say, ends with the gates' word."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.quantizationjob.job import Platform
from slipway.quantizationjob.plan import plan
from slipway.reconcile.patch import merge_patch
from slipway.runtime import conditions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLATFORM = Platform("registry.example.com/slipway/quantizer:1")
DIGEST = f"sha256:{'a' * 64}"
SPEC: dict[str, Any] = {
    "model": {"from": {"trainingJob": "digits"}},
    "calibration": {"dataset": {"name": "digits"}},
    "evaluation": {"dataset": {"name": "digits"}},
    "output": {"uri": "pvc://models/digits-int8"},
    "parallelism": 2,
}
TRAINED = {
    "status": {
        "conditions": [{"type": "Succeeded", "status": "True"}],
        "artifact": {"uri": "pvc://models/digits", "digest": DIGEST},
    }
}


class World:
    """One job and its pods, driven plan by plan as reconcile would."""

    def __init__(self, **spec: Any) -> None:
        metadata = {"name": "q", "namespace": "team", "uid": "uid-1", "generation": 1}
        self.job: dict[str, Any] = {"metadata": metadata, "spec": {**SPEC, **spec}, "status": {}}
        self.pods: dict[str, dict[str, Any]] = {}
        self.source: dict[str, Any] | None = TRAINED
        self.now = NOW

    def look(self):
        decision = plan(self.job, list(self.pods.values()), self.source, PLATFORM, self.now)
        for delete in decision.deletes:
            self.pods.pop(delete.name, None)
        for write in decision.writes:
            body = write.manifest
            if body["kind"] == "Pod":
                metadata = {**body["metadata"], "uid": f"uid-{body['metadata']['name']}"}
                self.pods[body["metadata"]["name"]] = {**body, "metadata": metadata, "status": {"phase": "Pending"}}
        if decision.status is not None:
            self.job["status"] = decision.status
        self.now += timedelta(seconds=1)
        return decision

    def settle(self):
        """Look until nothing changes."""
        for _ in range(12):
            before = json.dumps([self.job["status"], sorted(self.pods)], sort_keys=True)
            decision = self.look()
            if before == json.dumps([self.job["status"], sorted(self.pods)], sort_keys=True):
                return decision
        raise AssertionError("the plan does not settle")

    def end(self, code: int = 0, **result: Any) -> None:
        """All pods that are there end, each with the same last words."""
        words = json.dumps(result) if result else ""
        ended = {
            "exitCode": code,
            "message": words,
            "finishedAt": "2026-11-22T12:00:00Z",
            "reason": "Error" if code else "Completed",
        }
        for pod in self.pods.values():
            container = {"name": "quantizer", "state": {"terminated": ended}}
            pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}

    def condition(self, kind: str) -> dict[str, Any]:
        return conditions.get(self.job["status"]["conditions"], kind) or {}


def test_waits_for_its_source_then_pins_it_for_good():
    world = World()
    world.source = None
    world.settle()
    assert not world.pods
    assert world.condition("SourceReady")["reason"] == "WaitingForSource"
    world.source = TRAINED
    world.settle()
    assert world.job["status"]["source"] == {
        "uri": "pvc://models/digits",
        "digest": DIGEST,
        "source": "TrainingJob/digits",
    }
    assert sorted(world.pods) == ["q-0-0-a0"]
    world.source = None
    world.settle()
    assert world.job["status"]["source"]["digest"] == DIGEST


def test_a_source_that_failed_fails_the_job_with_its_reason():
    world = World()
    world.source = {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "out of budget"}]}}
    world.settle()
    assert world.condition("Failed")["reason"] == "SourceFailed"
    assert "out of budget" in world.condition("Failed")["message"]
    assert world.job["status"]["completionTime"]


def test_a_source_deleted_before_its_end_is_not_waited_for_under_its_name():
    running = {"metadata": {"uid": "t-1"}, "status": {}}
    for successor in (None, {**TRAINED, "metadata": {"uid": "t-2"}}):
        world = World()
        world.source = None
        world.settle()
        world.source = running
        world.settle()
        assert world.job["status"]["source"] == {"source": "TrainingJob/digits", "uid": "t-1"}
        world.source = successor
        world.settle()
        assert world.condition("Failed")["reason"] == "SourceFailed"
        assert "was deleted before it succeeded" in world.condition("Failed")["message"]


def test_nothing_is_said_anew_of_the_source_of_a_job_that_has_ended():
    world = World()
    world.source = {"metadata": {"uid": "t-1"}, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    world.settle()
    ended = json.dumps(world.job["status"])
    for source in (None, {**TRAINED, "metadata": {"uid": "t-2"}}):
        world.source = source
        world.settle()
        assert json.dumps(world.job["status"]) == ended


def test_an_output_over_the_source_is_refused_before_anything_runs():
    world = World(output={"uri": "pvc://models/digits"})
    world.settle()
    assert world.condition("Stalled")["reason"] == "InvalidSpec"
    assert "would be replaced" in world.condition("Stalled")["message"]
    assert not world.pods


def test_who_ends_before_its_peers_does_not_end_the_stage():
    """It saw their shards unfinished and named its own stage: only the last one knows what is next."""
    for last in (0, 1):
        world = World()
        world.settle()
        world.end(stage="export", next="calibrate", message="exported")
        world.settle()
        world.end(stage="calibrate", next="calibrate", message="a shard")
        name = f"q-1-{last}-a1"
        words = json.dumps({"stage": "calibrate", "next": "quantize", "message": "the last shard"})
        world.pods[name]["status"]["containerStatuses"][0]["state"]["terminated"] = {"exitCode": 0, "message": words}
        world.settle()
        assert world.job["status"]["stage"] == "quantize"
        assert world.condition("Calibrated")["status"] == "True"
        assert world.job["status"].get("restartCount", 0) == 0


def test_stages_follow_each_other_as_the_pods_say_and_shards_run_side_by_side():
    world = World()
    world.settle()
    world.end(stage="export", next="baseline", message="exported")
    world.settle()
    assert (world.job["status"]["stage"], sorted(world.pods)) == ("baseline", ["q-1-0-a1"])
    world.end(stage="baseline", next="calibrate", message="float: 98 %")
    world.settle()
    assert world.condition("Baselined")["status"] == "True"
    assert sorted(world.pods) == ["q-2-0-a2", "q-2-1-a2"]
    commands = [pod["spec"]["containers"][0]["command"] for _, pod in sorted(world.pods.items())]
    assert [command[-3:] for command in commands] == [["calibrate", "--shard", "0/2"], ["calibrate", "--shard", "1/2"]]
    assert world.job["status"].get("restartCount", 0) == 0


def test_the_last_stage_ends_the_job_with_artifact_headline_and_gate():
    world = World()
    world.settle()
    artifact = {"uri": "pvc://models/digits-int8", "digest": DIGEST, "metrics": [{"name": "accuracy", "value": "0.98"}]}
    world.end(
        stage="publish",
        message="published",
        outcome="quantized",
        selected="static",
        artifact=artifact,
        headline={"float": "98.1 %", "quantized": "98.0 %", "drop": "0.1 pt"},
    )
    world.settle()
    assert world.condition("Succeeded")["status"] == "True"
    assert world.condition("AccuracyGatePassed")["status"] == "True"
    assert world.condition("Published")["status"] == "True"
    assert world.job["status"]["artifact"] == artifact
    assert world.job["status"]["headline"]["quantized"] == "98.0 %"
    assert not merge_patch(world.job["status"], world.look().status)


def test_empty_texts_of_a_stage_are_left_out_since_some_servers_take_them_for_null():
    world = World()
    world.settle()
    headline = {"float": "98.1 %", "quantized": "", "drop": ""}
    world.end(stage="export", next="baseline", message="exported", headline=headline, selected="")
    world.settle()
    assert world.job["status"]["headline"] == {"float": "98.1 %"}
    assert "selected" not in world.job["status"]


def test_no_candidate_passes_the_job_fails_with_its_report_and_is_not_run_again():
    world = World()
    world.settle()
    report = {"uri": "pvc://models/digits-int8.report/report.html", "digest": DIGEST}
    world.end(3, stage="publish", message="drop 9 points, 1 allowed", outcome="rejected", report=report)
    world.settle()
    assert world.condition("Failed")["reason"] == "GateFailed"
    assert "drop 9 points" in world.condition("Failed")["message"]
    assert world.job["status"]["report"] == report
    assert world.job["status"].get("restartCount", 0) == 0
    assert "artifact" not in world.job["status"]


def test_a_killed_pod_restarts_its_stage_and_no_other():
    world = World()
    world.settle()
    world.end(stage="export", next="baseline", message="exported")
    world.settle()
    world.end(137)
    world.settle()
    assert (world.job["status"]["stage"], world.job["status"]["restartCount"]) == ("baseline", 1)
    assert "q-1-0-a2" in world.pods
    assert world.job["status"]["lastFailure"]["signal"] == "SIGKILL"


def test_bad_input_is_final():
    world = World()
    world.settle()
    world.end(2)
    world.settle()
    assert world.condition("Failed")["reason"] == "BadInput"
    assert world.job["status"].get("restartCount", 0) == 0
