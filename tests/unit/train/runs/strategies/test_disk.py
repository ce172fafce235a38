"""Offload to a disk: where DeepSpeed's kernel is, and refused in words, before a step is made, where it is not."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.processes import train
from tests.unit.train.runs import runs
from tests.unit.train.runs.strategies.test_equivalence import agree
from workloads.errors import BadInput
from workloads.pod.environment import Place
from workloads.train import strategies
from workloads.train.job import Overrides, read_job

deepspeed = pytest.importorskip("deepspeed")

# Small tensors never leave memory: DeepSpeed moves what is a MiB or more.
WIDE: dict[str, Any] = {"model": {"name": "cnn", "width": 128}, "optimizer": {"name": "adamw", "learningRate": 0.001}}


def kernel() -> Any:
    return importlib.import_module("deepspeed.ops.op_builder").AsyncIOBuilder()


def offloading(folder: Path) -> dict[str, Any]:
    offload = {"device": "nvme", "nvmePath": str(folder)}
    return {
        "launcher": "deepspeed",
        "deepspeed": {"zeroStage": 3, "offloadParam": offload, "offloadOptimizer": offload},
    }


def test_a_disk_without_its_kernel_is_refused(tmp_path: Path) -> None:
    """It went on into the engine, whose words were of a JIT load and hardware issues."""
    if kernel().is_compatible(verbose=False):
        pytest.skip("libaio's header is here, so the kernel can be compiled")
    spec = runs.document(tmp_path, "single")
    spec["spec"] |= offloading(tmp_path)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(spec))
    place = Place()
    strategy = strategies.choose(read_job(path, Overrides()), place, {})
    assert strategy.name == "zero-3 offload nvme/nvme"
    with pytest.raises(BadInput, match="built with libaio-dev and DS_BUILD_AIO=1, or offload to cpu"):
        strategy.setup(place)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to which the strategy `nvme` offloads all it can."""
    if not kernel().is_compatible(verbose=False):
        pytest.skip("DeepSpeed's kernel needs libaio's header")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    kernel().load(verbose=False)
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setitem(runs.STRATEGIES, "nvme", offloading(folder))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the kernel may have to be compiled, which takes minutes
def test_from_a_disk_it_takes_the_path_of_memory_and_goes_on_from_its_checkpoint(disk: Path, tmp_path: Path) -> None:
    runs.run(tmp_path / "memory", "zero-3-cpu", 2, **WIDE)
    runs.run(tmp_path / "whole", "nvme", 2, **WIDE)
    agree(tmp_path / "memory", tmp_path / "whole", 1e-4)
    swapped = {path.name for path in disk.rglob("*.swp")}
    for what in ("param", "exp_avg-", "exp_avg_sq-", "gradient"):
        assert any(what in name for name in swapped), (what, swapped)
    expected = runs.weights(tmp_path / "whole")
    shutil.rmtree(runs.checkpoints(tmp_path / "whole")[-1])
    assert "resumed from step 15" in runs.run(tmp_path / "whole", "nvme", 2, **WIDE)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in runs.weights(tmp_path / "whole").items())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_configuration_under_which_deepspeed_would_train_wrongly_is_refused(disk: Path, tmp_path: Path) -> None:
    """Gradients inside of a group were read back at offsets that a disk refuses, and DeepSpeed heard nothing of it."""
    spec = {"device": "nvme", "nvme_path": str(disk)}
    config = {
        "zero_optimization": {"stage": 3, "offload_optimizer": spec, "offload_param": spec},
        "gradient_clipping": 1.0,
    }
    path = tmp_path / "ds_config.json"
    path.write_text(json.dumps(config))
    job = runs.write(tmp_path / "wrong", "nvme", **WIDE)
    with train(job, 2, tmp_path / "logs", SLIPWAY_DEEPSPEED_CONFIG=str(path)) as both:
        for one in both:
            assert one.wait() == 2
            assert "set zero_optimization.sub_group_size to 1" in one.output
