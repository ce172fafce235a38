"""Training jobs that the tests apply, and what they read from their statuses."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from tests.e2e.conftest import Job
from workloads.models import WIDTH
from workloads.models.cnn import Cnn

# Checkpoints every second or two on a slow machine, which has the fewest epochs.
LEAST_EPOCHS, EVERY_STEPS, BATCH = 60, 20, 64
EPOCH_STEPS = 22  # of the example
# What a step of several processes takes, when one process alone takes one.
TOGETHER = 2.5


def long_job(example: Callable[[str], Job], name: str, seconds: float = 12, **spec: Any) -> Job:
    """The first example under another name, for long enough to be hit in its middle; `spec` replaces its fields.

    A fast machine is done with what a slow one needs minutes for before anybody has looked.
    """
    job = copy.deepcopy(example("trainingjob.yaml"))
    job["metadata"]["name"] = name
    job["spec"]["checkpoint"] = {"uri": f"pvc://slipway-artifacts/{name}-checkpoints", "everySteps": EVERY_STEPS}
    job["spec"]["output"] = {"uri": f"pvc://slipway-artifacts/{name}"}
    job["spec"] |= spec
    alone = job["spec"]["numNodes"] * job["spec"].get("numProcPerNode", 1) == 1
    steps = seconds * steps_a_second() / (1 if alone else TOGETHER)
    job["spec"]["recipe"]["epochs"] = max(LEAST_EPOCHS, round(steps / EPOCH_STEPS))
    return job


@cache
def steps_a_second() -> float:
    """Of the example's model on one thread of this machine, as busy as it is now."""
    model = Cnn(channels=1, height=8, width=8, classes=10, features=WIDTH)
    rate = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.rand(BATCH, 1, 8, 8), torch.randint(10, (BATCH,))
    threads, started, steps = torch.get_num_threads(), time.monotonic(), 0
    torch.set_num_threads(1)
    while time.monotonic() < started + 1:
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        rate.step()
        steps += 1
    torch.set_num_threads(threads)
    return float(steps)


def metrics(job: Job) -> dict[str, float]:
    """Of the artifact."""
    return {metric["name"]: float(metric["value"]) for metric in job["status"]["artifact"]["metrics"]}


def percent(job: Job) -> int:
    """How far the job says it is; 0 before it has said anything."""
    return int(((job.get("status") or {}).get("progress") or {}).get("percent") or 0)


def step(job: Job) -> int:
    """Which step the job says it is at; 0 before it has said anything."""
    return int(((job.get("status") or {}).get("progress") or {}).get("step") or 0)
