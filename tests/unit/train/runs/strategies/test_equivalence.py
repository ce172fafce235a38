"""Whatever the strategy and the number of processes: the same seed and global batch take the same path."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.runs.runs import history, installed, run, weights


def long(strategy: str) -> Any:
    """DeepSpeed takes seconds to import in each process: some of its runs are for the slow suite."""
    return pytest.param(strategy, marks=pytest.mark.slow)


TWO = [
    "ddp",
    "fsdp2",
    long("zero-0"),
    long("zero-1"),
    "zero-2",
    long("zero-3"),
    long("zero-2-cpu"),
    "zero-3-cpu",
    "horovod",
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single")
    output = run(folder, "single", 1)
    assert "processes: 1 (single)" in output
    return folder


def agree(one: Path, other: Path, tolerance: float) -> None:
    for before, after in zip(history(one), history(other), strict=True):
        for figure in ("trainingLoss", "loss"):
            assert after[figure] == pytest.approx(before[figure], rel=tolerance), figure
    expected = weights(one)
    found = weights(other)
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, expected[name], atol=tolerance), name


@pytest.mark.parametrize("strategy", TWO)
def test_two_processes_take_the_path_of_one(alone: Path, tmp_path: Path, strategy: str) -> None:
    if not installed(strategy):
        pytest.skip(f"the library of {strategy} is not installed")
    output = run(tmp_path, strategy, 2)
    named = strategy.removesuffix("-cpu")
    assert f"processes: 2 ({named}" in output
    agree(alone, tmp_path, 2e-3)


def test_one_process_of_deepspeed_needs_no_launcher(alone: Path, tmp_path: Path) -> None:
    if not installed("zero-2"):
        pytest.skip("DeepSpeed is not installed")
    assert "processes: 1 (zero-2)" in run(tmp_path, "zero-2", 1)
    agree(alone, tmp_path, 2e-3)


@pytest.mark.parametrize("strategy", ["single", long("ddp"), "fsdp2", long("zero-2"), "zero-3", "horovod"])
def test_accumulated_gradients_are_those_of_the_large_batch(alone: Path, tmp_path: Path, strategy: str) -> None:
    if not installed(strategy):
        pytest.skip(f"the library of {strategy} is not installed")
    run(tmp_path, strategy, 1 if strategy == "single" else 2, gradientAccumulationSteps=4)
    agree(alone, tmp_path, 2e-3)


@pytest.mark.parametrize("strategy", [long("single"), "ddp", long("fsdp2"), "zero-1", long("zero-3"), "horovod"])
def test_bf16_stays_near(alone: Path, tmp_path: Path, strategy: str) -> None:
    if not installed(strategy):
        pytest.skip(f"the library of {strategy} is not installed")
    run(tmp_path, strategy, 1 if strategy == "single" else 2, precision="bf16")
    last, exact = history(tmp_path)[-1], history(alone)[-1]
    assert last["loss"] == pytest.approx(exact["loss"], abs=0.1)
    assert last["loss"] != exact["loss"]  # it was not float32 after all


@pytest.mark.slow
def test_sgd_with_momentum(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": {"learningRate": 0.05, "weightDecay": 0.01}, "epochs": 1}
    run(tmp_path / "one", "single", 1, **options)
    for strategy in ("fsdp2", "zero-2", "zero-3"):
        if installed(strategy):
            run(tmp_path / strategy, strategy, 2, **options)
            agree(tmp_path / "one", tmp_path / strategy, 2e-3)
