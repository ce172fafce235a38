"""A TrainingJob from a few words, and what Slipway makes of it. Used by the tests of this folder."""

from __future__ import annotations

from typing import Any

from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.gang.status_endpoint import StatusEndpoint
from slipway.trainingjob import pods
from slipway.trainingjob.job import Platform, TrainingJob

PLATFORM = Platform(trainer_image="registry.example.com/slipway/trainer:9.9")
WITH_STATUS = Platform("registry.example.com/slipway/trainer:9.9", StatusEndpoint("https://slipway:8443/x", "PEM"))
OWN = {"image": "example.com/train:1", "command": ["python", "train.py"]}
AGENT = ["python3", "/etc/slipway/torch_agent.py"]
RECIPE = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "globalBatchSize": 64}


def job_of(name: str = "j", **spec: Any) -> TrainingJob:
    """`spec` on the wire, with a program of the user's own unless it holds a recipe."""
    if "recipe" not in spec:
        spec["trainer"] = OWN | spec.get("trainer", {})
    return TrainingJob(name, "team", "uid-1", 1, TrainingJobSpec.model_validate(spec))


def pod_of(job: TrainingJob, index: int = 0, attempt: int = 0, platform: Platform = PLATFORM) -> dict[str, Any]:
    return pods.pod(job, index, attempt, platform)


def container_of(job: TrainingJob, index: int = 0, platform: Platform = PLATFORM) -> dict[str, Any]:
    container: dict[str, Any] = pod_of(job, index, platform=platform)["spec"]["containers"][0]
    return container


def env_of(job: TrainingJob, index: int = 0, platform: Platform = PLATFORM) -> dict[str, Any]:
    listed = container_of(job, index, platform)["env"]
    names = [env["name"] for env in listed]
    assert len(set(names)) == len(names), f"named twice: {names}"
    return {env["name"]: env.get("value", env.get("valueFrom")) for env in listed}


def resources(**limits: Any) -> dict[str, Any]:
    return {"resourcesPerNode": {"limits": limits}}
