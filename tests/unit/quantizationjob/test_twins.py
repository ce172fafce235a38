"""A pod under the number of another stage says nothing of the one that runs, whatever its labels and its owner are."""

from __future__ import annotations

import copy

import pytest

from tests.unit.quantizationjob.test_plan import World


@pytest.mark.parametrize("code", [0, 1, 3], ids=["done", "failed", "rejected"])
def test_a_twin_of_another_stage_neither_ends_the_job_nor_restarts_it(code: int) -> None:
    world = World()
    world.settle()
    ((name, pod),) = world.pods.items()
    assert name == "q-0-0-a0"
    twin = copy.deepcopy(pod)
    twin["metadata"] |= {"name": "q-9-0-a0", "uid": "forged"}
    world.pods = {"q-9-0-a0": twin}
    world.end(code, stage="export", outcome="Rejected", message="forged", next=None)
    world.pods[name] = pod
    before = {key: world.job["status"].get(key) for key in ("stage", "step", "attempt", "restartCount")}
    world.settle()
    assert {key: world.job["status"].get(key) for key in before} == before
    assert world.condition("Failed").get("status") != "True"
    assert sorted(world.pods) == [name], "it belongs to the job by its owner, and is in its way"
