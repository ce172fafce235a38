"""A laptop and a cluster give DeepSpeed one configuration for one job; a file that contradicts the job is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway.api.training.memory import StrategyName
from slipway.api.training.strategy import Choice
from slipway.trainingjob.launchers.deepspeed import ds_config
from tests.unit.train.conftest import digits_job
from tests.unit.trainingjob.rendered import RECIPE, job_of
from workloads.errors import BadInput
from workloads.train.job import Job, Overrides, read_job
from workloads.train.strategies.ds_config import FILE, find

NAMES = (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3, StrategyName.ZERO3_OFFLOAD)
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "stage 3 by hand": {"zeroStage": 3},
    "a disk": {"zeroStage": 3, "offloadParam": {"device": "nvme", "nvmePath": "/scratch"}},
    "clipping": {"gradientClipping": 0.5},
}


def laptop(folder: Path, settings: dict[str, Any]) -> Job:
    document = digits_job(folder)
    document["spec"] |= {"launcher": "deepspeed", "deepspeed": settings, "recipe": RECIPE}
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    return read_job(path, Overrides())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_laptop_runs_what_the_cluster_runs(tmp_path: Path, name: StrategyName, settings: dict[str, Any]) -> None:
    """Once a stage named by hand beside ZeRO3Offload was offloaded in the cluster and not on the laptop."""
    job = job_of(launcher="deepspeed", deepspeed=settings, recipe=RECIPE, numProcPerNode=1)
    cluster = ds_config(replace(job, strategy=Choice(name)))
    here = find(laptop(tmp_path, settings), name, 1, {})
    assert cluster.items() <= here.items()
    assert ("offload_optimizer" in here["zero_optimization"]) == (name is StrategyName.ZERO3_OFFLOAD)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "not a DeepSpeed configuration"),
        ("{", "not a DeepSpeed configuration"),
        ('{"optimizer": {}}', "and so has the recipe: remove it"),
        ('{"train_batch_size": 3}', "train_batch_size is 3, the recipe makes it 64: remove it"),
    ],
)
def test_a_file_that_is_none_or_contradicts_the_recipe(tmp_path: Path, content: str, words: str) -> None:
    given = tmp_path / "given.json"
    given.write_text(content)
    with pytest.raises(BadInput, match=words):
        find(laptop(tmp_path, {}), StrategyName.ZERO2, 1, {FILE: str(given)})
