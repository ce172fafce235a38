"""A pod whose labels somebody changed leaves the gang, which comes to rest with pods of its own."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime.client.resource import PODS, Object, uid_of
from tests.unit.trainingjob.sim_world import NAME, World
from tests.unit.trainingjob.steps import begin, condition, free_killed, run, status, to_next_due

ATTEMPT, INDEX = "slipway.dev/attempt", "slipway.dev/replica-index"


def relabelled(pod: Object, **labels: str | None) -> Object:
    marks = {**pod["metadata"]["labels"], **labels}
    kept = {key: value for key, value in marks.items() if value is not None}
    return {**pod, "metadata": {**pod["metadata"], "labels": kept}}


CHANGES: list[Any] = [
    pytest.param({ATTEMPT: None}, id="no attempt"),
    pytest.param({ATTEMPT: "9"}, id="a later attempt"),
    pytest.param({INDEX: "1"}, id="a peer's index"),
    pytest.param({INDEX: "00"}, id="an index written otherwise"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_running_pod_that_was_relabelled_is_replaced_once(world: World, change: dict[str, str | None]) -> None:
    """`settle` fails where the operator asks the server on and on whether the pod is there after all."""
    begin(world)
    run(world)
    world.server.store(PODS, relabelled(world.server.get(PODS, "job-node-0-a0"), **change))
    world.settle()
    assert world.server.get(PODS, "job-node-0-a0")["metadata"]["deletionTimestamp"]
    to_next_due(world)
    assert "restartCount" not in status(world), "two attempts would run at once"
    assert "waiting for job-node-0-a0" in condition(world, "Ready")["message"]
    free_killed(world)
    to_next_due(world)
    assert (status(world)["restartCount"], status(world)["attempt"]) == (1, 1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_pod_in_the_place_of_the_next_one_gives_way(world: World, change: dict[str, str | None]) -> None:
    """As after a crash: it is there, its owner is the job, and its labels say that it is another."""
    begin(world, runPolicy={"suspend": True})
    assert world.job is not None
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "name": NAME, "uid": uid_of(world.job)}
    labels = {"slipway.dev/job-name": NAME, ATTEMPT: "0", INDEX: "0"}
    about = {"name": "job-node-0-a0", "labels": labels, "ownerReferences": [{**owner, "controller": True}]}
    body = {"metadata": about, "spec": {"terminationGracePeriodSeconds": 30}}
    forged = world.server.create(PODS, relabelled(body, **change))
    world.edit(("runPolicy", "suspend"), False)
    world.settle()
    for _ in range(3):
        if len(world.pods) == 2:
            break
        to_next_due(world)
    assert uid_of(world.server.get(PODS, "job-node-0-a0")) != uid_of(forged)
    run(world)
    assert condition(world, "Running")["status"] == "True"
    assert not status(world).get("restartCount")
