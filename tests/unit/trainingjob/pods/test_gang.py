"""What is a TrainingJob's own: exit codes that end it, the digest of what its pods are made of, its artifact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.runtime.client.resource import PODS
from slipway.trainingjob.gang import spec_digest
from tests.unit.trainingjob.rendered import OWN, RECIPE, job_of
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import condition, fail, run, status

DIGEST = "sha256:" + "ab" * 32
ARTIFACT = {"uri": "pvc://a/b", "digest": DIGEST, "metrics": [{"name": "accuracy", "value": "0.99"}]}


def trained(world: World, words: list[str], **spec: Any) -> None:
    """A job with the built-in trainer whose pods have run and said these last words."""
    world.create_job({"numNodes": len(words), "numProcPerNode": 1, "recipe": RECIPE, **spec})
    world.settle()
    run(world)
    for index, said in enumerate(words):
        world.end_pod(world.server.get(PODS, f"job-node-{index}-a0"), 0)
        pod = world.server.get(PODS, f"job-node-{index}-a0")
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = said
        world.server.store(PODS, pod)
    world.settle()
    assert condition(world, "Succeeded")["status"] == "True"


def test_node_0_names_the_artifact(world: World) -> None:
    other = json.dumps({"artifact": ARTIFACT | {"digest": "sha256:" + "00" * 32}})
    trained(world, [json.dumps({"artifact": ARTIFACT}), other], output={"uri": "pvc://a/b"})
    assert status(world)["artifact"] == ARTIFACT
    assert condition(world, "Succeeded")["message"] == "all pods succeeded"


def test_the_artifact_of_a_rank_0_that_moved_to_another_node_is_not_lost(world: World) -> None:
    """Elastic processes that met anew had their rank 0 on the second node, and the job ended without an artifact."""
    trained(world, ["", json.dumps({"artifact": ARTIFACT})], output={"uri": "pvc://a/b"})
    assert status(world)["artifact"] == ARTIFACT


@pytest.mark.parametrize(
    "words",
    ["", "epoch 3 of 3", "[1]", '{"artifact": {"uri": "pvc://a/b"}}', '{"artifact": 7}', "[" * 4096],
    ids=["silence", "log", "list", "no digest", "number", "depth"],
)
def test_an_artifact_that_was_promised_and_not_named_is_told(world: World, words: str) -> None:
    trained(world, [words, words], output={"uri": "pvc://a/b"})
    assert "artifact" not in status(world)
    assert "no pod named an artifact" in condition(world, "Succeeded")["message"]


def test_the_scale_subresource_finds_the_pods(world: World) -> None:
    world.create_job({"numNodes": 3, "trainer": {"command": ["train"]}})
    world.settle()
    key, _, value = status(world)["selector"].partition("=")
    assert all(pod["metadata"]["labels"][key] == value for pod in world.pods)
    assert status(world)["nodes"] == 3


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize(("code", "reason"), [(2, "BadInput"), (3, "GateFailed")])
def test_bad_input_ends_a_job_of_the_built_in_trainer_at_once(
    world: World, elastic: bool, code: int, reason: str
) -> None:
    policy = {"elasticPolicy": {"maxNodes": 2}} if elastic else {}
    world.create_job({"numNodes": 2, "numProcPerNode": 1, "recipe": RECIPE, **policy})
    world.settle()
    run(world)
    fail(world, "job-node-1-a0", code)
    assert condition(world, "Failed")["reason"] == reason
    assert "restartCount" not in status(world)


def test_what_a_users_program_means_by_its_exit_codes_is_its_own_affair(world: World) -> None:
    world.create_job({"numNodes": 2, "trainer": OWN})
    world.settle()
    run(world)
    fail(world, "job-node-1-a0", 2)
    assert status(world)["restartCount"] == 1


def test_the_digest_of_a_spec_is_that_of_every_release() -> None:
    """It is in the status of running jobs: another one after an upgrade would make all of them look edited."""
    specs: dict[str, dict[str, Any]] = {
        "5050804523": {"numNodes": 2},
        "e85792b2ee": {"numNodes": 2, "elasticPolicy": {"maxNodes": 4}},
        "a922123fdb": {"recipe": RECIPE, "numProcPerNode": 2, "pod": {"nodeSelector": {"a": "b"}}},
    }
    for digest, spec in specs.items():
        assert spec_digest(job_of(**spec).spec)[:17] == f"sha256:{digest}"
        policies = {"runPolicy": {"suspend": True}, "failurePolicy": {"maxRestarts": 9}, "successPolicy": "Rank0"}
        assert spec_digest(job_of(**spec, **policies).spec)[:17] == f"sha256:{digest}"
