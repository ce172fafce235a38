"""The steps that the stories of a TrainingJob are told in."""

from __future__ import annotations

from typing import Any

from slipway.runtime import conditions
from slipway.runtime.client.resource import PODS, Object
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import NAME, World


def begin(world: World, nodes: int = 2, **spec: Any) -> None:
    """A job whose pods have been created."""
    world.create_job(
        {
            "numNodes": nodes,
            "trainer": {"command": ["train"]},
            "pod": {"terminationGracePeriodSeconds": 30},
            "runPolicy": spec.get("runPolicy", {}),
            "failurePolicy": {"maxRestarts": 3, "nodeLostGraceSeconds": 10} | spec.get("failurePolicy", {}),
        }
    )
    world.settle()


def run(world: World, node: str = "node-a") -> None:
    """All its pods run."""
    for pod in world.pods:
        if pod["status"]["phase"] == "Pending":
            world.start_pod(pod, node)
    world.settle()


def fail(world: World, name: str, code: int = 1) -> None:
    """It ends badly, and for long enough no kubelet tells of another end that explains it."""
    world.end_pod(world.server.get(PODS, name), code)
    world.clock.seconds += 3
    world.settle()


def status(world: World) -> Object:
    assert world.job is not None
    found: Object = world.job["status"]
    return found


def condition(world: World, kind: str) -> Object:
    found = conditions.get(status(world)["conditions"], kind)
    assert found is not None, f"no condition {kind}: {status(world)['conditions']}"
    return found


def names(world: World) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in world.pods)


def to_next_due(world: World) -> None:
    due = world.process.queue.next_due()
    assert due is not None, "nothing wakes the job"
    world.clock.seconds = max(world.clock.seconds, due)
    world.settle()


def to_next_change(world: World) -> None:
    """Past looks that find nothing, as at pods that may not have started."""
    before = status(world)
    while status(world) == before:
        to_next_due(world)


def free_killed(world: World) -> None:
    """Live kubelets end what is to be deleted."""
    for pod in world.pods:
        if pod["metadata"].get("deletionTimestamp") and pod["spec"].get("nodeName") not in world.lost:
            world.server.remove(PODS, pod["metadata"]["name"])
    world.settle()


def replace_job(world: World) -> None:
    """Delete the job and create it again under its name, while its pods still live."""
    spec = dict(world.job["spec"])  # type: ignore[index]
    world.server.delete(TRAINING_JOBS, NAME)
    world.create_job(spec)
    world.settle()
