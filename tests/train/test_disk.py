"""Offload to a disk, where DeepSpeed cannot reach one: refused in words, before a step is made."""

import importlib
import json
from pathlib import Path

import pytest

from tests.train.runs import document
from workloads.errors import BadInput
from workloads.train import strategies
from workloads.train.environment import Place
from workloads.train.job import Overrides, read_job

deepspeed = pytest.importorskip("deepspeed")


def test_a_disk_without_its_kernel_is_refused(tmp_path: Path) -> None:
    """It went on into the engine, whose words were of a JIT load and hardware issues."""
    builder = importlib.import_module("deepspeed.ops.op_builder").AsyncIOBuilder()
    if builder.is_compatible(verbose=False):
        pytest.skip("libaio's header is here, so the kernel can be compiled")
    spec = document(tmp_path, "single")
    offload = {"device": "nvme", "nvmePath": str(tmp_path)}
    spec["spec"] |= {"launcher": "deepspeed", "deepspeed": {"zeroStage": 3, "offloadParam": offload}}
    path = tmp_path / "job.json"
    path.write_text(json.dumps(spec))
    place = Place()
    strategy = strategies.choose(read_job(path, Overrides()), place, {})
    assert strategy.name == "zero-3 offload nvme"
    with pytest.raises(BadInput, match="built with libaio-dev and DS_BUILD_AIO=1, or offload to cpu"):
        strategy.setup(place)
