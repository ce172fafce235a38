"""Pods of a QuantizationJob: what they mount, and what becomes of what they report."""

import json

from slipway.gang.status_endpoint import StatusEndpoint
from slipway.quantizationjob.job import Platform
from slipway.quantizationjob.plan import plan
from tests.unit.quantizationjob.test_plan import DIGEST, PLATFORM, TRAINED, World


def test_pods_read_the_pinned_source_and_mount_every_claim_once():
    world = World(calibration={"uri": "pvc://data/calib"})
    decision = None
    while decision is None or not decision.writes:
        decision = world.look()
    config = next(w.manifest for w in decision.writes if w.manifest["kind"] == "ConfigMap")
    document = json.loads(config["data"]["job.json"])
    assert document["spec"]["model"] == {"uri": "pvc://models/digits", "digest": DIGEST}
    pod = next(w.manifest for w in decision.writes if w.manifest["kind"] == "Pod")
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert claims == ["data", "models"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_pods_can_post_their_progress_and_have_no_other_token():
    listening = Platform("registry.example.com/slipway/quantizer:1", StatusEndpoint("https://slipway:8443", "PEM"))
    world = World()
    world.settle()
    for platform in (PLATFORM, listening):
        world.job["status"].pop("attemptTime", None)
        decision = plan(world.job, [], TRAINED, platform, world.now)
        config, pod = (write.manifest for write in decision.writes)
        (container,) = pod["spec"]["containers"]
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        tokens = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        assert pod["spec"]["automountServiceAccountToken"] is False
        if platform is PLATFORM:
            assert (list(env), tokens, list(config["data"])) == (["PYTHONUNBUFFERED"], [], ["job.json"])
            continue
        path = "/apis/slipway.dev/v1alpha1/namespaces/team/quantizationjobs/q/status"
        assert env["KUBEFLOW_TRAINER_SERVER_URL"] == f"https://slipway:8443{path}"
        assert config["data"]["status-ca.crt"] == "PEM"
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert env["KUBEFLOW_TRAINER_SERVER_TOKEN"].rpartition("/")[0] in mounts
        assert env["KUBEFLOW_TRAINER_SERVER_CA_CERT"].rpartition("/")[0] in mounts
        assert len(tokens) == 1


def test_progress_of_the_pods_is_shown_until_the_end_which_is_whole():
    world = World()
    world.settle()
    posted = {"percent": 40, "estimatedRemainingSeconds": 60, "metrics": [{"name": "accuracy", "value": "0.9"}]}
    shown = plan(world.job, list(world.pods.values()), TRAINED, PLATFORM, world.now, progress=posted).status
    assert shown is not None
    assert shown["progress"] == posted
    world.job["status"] = shown
    world.end(3, stage="publish", message="nothing passes", outcome="rejected")
    world.settle()
    assert world.job["status"]["progress"] == {**posted, "percent": 100, "estimatedRemainingSeconds": 0}


def test_shards_that_are_done_are_not_done_again_when_their_pods_are_removed() -> None:
    """And what the last of them said of the next stage is still known."""
    world = World()
    world.settle()
    for stage, following in (("export", "baseline"), ("baseline", "calibrate")):
        world.end(stage=stage, next=following, message="done")
        world.settle()
    shards = dict(world.pods)
    assert len(shards) == 2
    first, second = sorted(shards)
    world.end(stage="calibrate", next="quantize", message="both shards are there")
    world.pods[second]["status"] = {"phase": "Running"}
    world.look()
    assert world.job["status"]["completed"]["indexes"] == "0"
    ended = world.pods.pop(first)
    world.settle()
    assert (world.job["status"]["stage"], world.job["status"].get("restartCount", 0)) == ("calibrate", 0)
    world.pods[second]["status"] = {**ended["status"], "containerStatuses": []}
    world.settle()
    assert (world.job["status"]["stage"], world.job["status"].get("restartCount", 0)) == ("quantize", 0)
