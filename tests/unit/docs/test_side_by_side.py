"""Somebody else's resource and ours, side by side in docs/side-by-side.md, ask for the same: read from both."""

from __future__ import annotations

from typing import Any

import yaml

from slipway.api.common.types import API_VERSION
from tests.cluster.paths import REPOSITORY
from tests.unit.docs.blocks import blocks, section

PAGE = REPOSITORY / "docs" / "side-by-side.md"


def pair(heading: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Specs of theirs and of ours, under a heading."""
    theirs, ours = [yaml.safe_load(block) for block in blocks(section(PAGE, f"## {heading}"), "yaml")]
    assert theirs["apiVersion"] != API_VERSION == ours["apiVersion"]
    assert theirs["metadata"] == ours["metadata"]
    return theirs["spec"], ours["spec"]


def program(command: list[str]) -> list[str]:
    """What each process runs: the command without a launcher of theirs, which is the operator's to start here."""
    if command[0] == "mpirun":
        return command[3:]
    return ["python", *command[1:]] if command[0] == "torchrun" else command


def containers(replica: dict[str, Any]) -> dict[str, Any]:
    """The one container of a replica's template."""
    (only,) = replica["template"]["spec"]["containers"]
    return dict(only)


def same_trainer(container: dict[str, Any], trainer: dict[str, Any]) -> None:
    """Image, program and what a node has are equal."""
    assert trainer["image"] == container["image"]
    assert trainer["resourcesPerNode"] == container.get("resources", container.get("resourcesPerNode"))
    assert trainer.get("env") == container.get("env")
    assert trainer["command"] == program(container["command"])


def test_a_pytorchjob() -> None:
    theirs, ours = pair("PyTorchJob")
    replicas = theirs["pytorchReplicaSpecs"]
    assert ours["numNodes"] == sum(one["replicas"] for one in replicas.values())
    assert ours["numProcPerNode"] == int(theirs["nprocPerNode"])
    for one in replicas.values():
        same_trainer(containers(one), ours["trainer"])
    policy = dict(theirs["runPolicy"])
    assert ours["failurePolicy"]["maxRestarts"] == policy.pop("backoffLimit")
    assert ours["runPolicy"] == policy


def test_a_trainjob() -> None:
    theirs, ours = pair("TrainJob")
    same_trainer(theirs["trainer"], ours["trainer"])
    assert {name: ours[name] for name in ("numNodes", "numProcPerNode")} == {
        name: theirs["trainer"][name] for name in ("numNodes", "numProcPerNode")
    }
    assert ours["runPolicy"]["suspend"] == theirs["suspend"]


def test_an_mpijob() -> None:
    theirs, ours = pair("MPIJob")
    launcher, worker = (theirs["mpiReplicaSpecs"][name] for name in ("Launcher", "Worker"))
    assert ours["numNodes"] == worker["replicas"]
    assert ours["numProcPerNode"] == theirs["slotsPerWorker"]
    command = containers(launcher)["command"]
    assert int(command[command.index("-np") + 1]) == ours["numNodes"] * ours["numProcPerNode"]
    same_trainer({**containers(worker), "command": command}, ours["trainer"])
    assert ours["mpi"]["implementation"] == theirs["mpiImplementation"]
    policy = dict(theirs["runPolicy"])
    assert ours["failurePolicy"]["maxRestarts"] == policy.pop("backoffLimit")
    assert ours["runPolicy"] == policy


def test_kserves_inferenceservice() -> None:
    theirs, ours = pair("KServe's InferenceService")
    there, here = theirs["predictor"], ours["predictor"]
    assert here["model"]["uri"] == there["model"]["storageUri"]
    assert here["resources"] == there["model"]["resources"]
    scaling = dict(ours["autoScaling"])
    assert scaling.pop("scaleMetric").lower() == there["scaleMetric"]
    assert scaling == {name: there[name] for name in ("minReplicas", "maxReplicas", "scaleTarget")}
    assert ours["rollout"]["canary"]["steps"][0]["trafficPercent"] == there["canaryTrafficPercent"]


def test_katibs_experiment() -> None:
    theirs, ours = pair("Katib's Experiment")
    goal = theirs["objective"]
    assert ours["objective"] == {
        "metric": goal["objectiveMetricName"],
        "goal": goal["type"],
        "target": goal["goal"],
    }
    assert ours["algorithm"] == theirs["algorithm"]["algorithmName"]
    counts = {
        "parallelTrials": "parallelTrialCount",
        "maxTrials": "maxTrialCount",
        "maxFailedTrials": "maxFailedTrialCount",
    }
    assert {here: ours[here] for here in counts} == {here: theirs[there] for here, there in counts.items()}
    trial = theirs["trialTemplate"]["trialSpec"]["spec"]
    container = containers(trial)
    assert ours["template"]["trainer"]["image"] == container["image"]
    assert ours["template"]["trainer"]["resourcesPerNode"] == container["resources"]
    assert len(ours["parameters"]) == len(theirs["parameters"])
    for here, there in zip(ours["parameters"], theirs["parameters"], strict=True):
        assert here["path"] == f"trainer.env.{there['name'].upper()}"
        space = there["feasibleSpace"]
        assert here.get("categorical", []) == space.get("list", [])
        assert here.get("float", {}) == {name: float(space[name]) for name in ("min", "max") if name in space}


def test_every_pair_is_compared_above() -> None:
    headings = {line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")}
    assert headings == {"PyTorchJob", "TrainJob", "MPIJob", "KServe's InferenceService", "Katib's Experiment"}
