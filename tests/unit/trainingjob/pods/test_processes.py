"""How many processes a node runs, and whether the batch divides by them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.training.processes import accelerators, batch_problems, processes_per_node, world_size
from tests.unit.trainingjob.rendered import RECIPE, env_of, job_of, resources

GPU = "nvidia.com/gpu"
AUTO: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"cpu": "4"}, 4),
    ({"cpu": 2}, 2),
    ({"cpu": "2500m"}, 3),
    ({"cpu": "2.5"}, 3),
    ({"cpu": "700m"}, 1),
    ({"cpu": "3.7"}, 4),
    ({GPU: 2}, 2),
    ({GPU: "8", "cpu": "64"}, 8),
    ({GPU: 0, "cpu": "3"}, 3),
    ({"nvidia.com/mig-1g.5gb": 2}, 2),
    ({"nvidia.com/mig-3g.20gb": 1, "nvidia.com/mig-1g.5gb": 2}, 3),
    ({"nvidia.com/mig-1g.10gb.me": 1, "cpu": 9}, 1),
    ({"nvidia.com/mig-1c.3g.20gb": 4}, 4),
    ({"nvidia.com/gpu.shared": 2}, 2),
    ({"amd.com/gpu": 4}, 4),
    ({"habana.ai/gaudi": 8}, 8),
    ({"aws.amazon.com/neuroncore": 2}, 2),
    ({"huawei.com/Ascend910": 8}, 8),
    ({"gpu.intel.com/i915": 1, "cpu": 8}, 1),
    ({"example.com/fpga-gpu-like": 5, "cpu": 2}, 2),
    ({"memory": "16Gi", "ephemeral-storage": "1Gi"}, 1),
]


@pytest.mark.parametrize(("limits", "expected"), AUTO, ids=[str(limits) for limits, _ in AUTO])
def test_auto_counts_accelerators_else_cpus(limits: dict[str, Any], expected: int) -> None:
    job = job_of(trainer=resources(**limits))
    assert processes_per_node(job.spec) == expected
    assert env_of(job)["PET_NPROC_PER_NODE"] == str(expected)


def test_a_request_counts_where_there_is_no_limit() -> None:
    asked = {"resourcesPerNode": {"requests": {"cpu": "3"}}}
    assert processes_per_node(job_of(trainer=asked).spec) == 3
    both = {"resourcesPerNode": {"requests": {"cpu": "3"}, "limits": {"cpu": "6"}}}
    assert processes_per_node(job_of(trainer=both).spec) == 6


def test_a_number_wins() -> None:
    job = job_of(numProcPerNode=3, trainer=resources(**{GPU: 8}))
    assert (processes_per_node(job.spec), accelerators(job.spec)) == (3, 8)


def test_the_world_of_plain_pods_is_their_number() -> None:
    """Strategy Auto divided the model's state by the CPUs, of which plain pods use one process."""
    for launcher, processes in (("plain", 3), ("torchrun", 12)):
        assert world_size(job_of(launcher=launcher, numNodes=3, trainer=resources(cpu=4)).spec) == processes


def test_a_batch_that_does_not_divide_is_refused_with_the_number_to_use() -> None:
    recipe = {**RECIPE, "globalBatchSize": 100, "gradientAccumulationSteps": 2}
    (problem,) = batch_problems(job_of(recipe=recipe, numNodes=2).spec, 4)
    assert "100 does not divide by 8 processes x 2 accumulation steps; use a multiple of 16" in problem
    assert batch_problems(job_of(recipe={**recipe, "globalBatchSize": 112}).spec, 7) == []
    assert batch_problems(job_of().spec, 7) == []
