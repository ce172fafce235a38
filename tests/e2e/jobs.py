"""Training jobs that the tests apply, and what they read from their statuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import Job

# Long enough to be hit in the middle on a slow machine, with a checkpoint every second or two.
LONG = {"epochs": 60, "everySteps": 20}


def long_job(example: Callable[[str], Job], name: str, **spec: Any) -> Job:
    """The first example under another name, for longer; fields of `spec` replace the example's."""
    job = copy.deepcopy(example("trainingjob.yaml"))
    job["metadata"]["name"] = name
    job["spec"]["recipe"]["epochs"] = LONG["epochs"]
    job["spec"]["checkpoint"] = {"uri": f"pvc://slipway-artifacts/{name}-checkpoints", "everySteps": LONG["everySteps"]}
    job["spec"]["output"] = {"uri": f"pvc://slipway-artifacts/{name}"}
    job["spec"] |= spec
    return job


def metrics(job: Job) -> dict[str, float]:
    """Of the artifact."""
    return {metric["name"]: float(metric["value"]) for metric in job["status"]["artifact"]["metrics"]}


def percent(job: Job) -> int:
    """How far the job says it is; 0 before it has said anything."""
    return int(((job.get("status") or {}).get("progress") or {}).get("percent") or 0)


def step(job: Job) -> int:
    """Which step the job says it is at; 0 before it has said anything."""
    return int(((job.get("status") or {}).get("progress") or {}).get("step") or 0)
